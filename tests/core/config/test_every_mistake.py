"""Mistakes of every phase are told at once; what serving would trip over is one of them."""

from __future__ import annotations

import os

import pytest
from made_configs import PLUGINS, Config

from modgate.api.secret import Secret
from modgate.auth.keys import new_key
from modgate.config.decode import salvaged
from modgate.config.guess import close_to
from modgate.config.schema import File
from modgate.host.installed import Installed
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

BOTH = '[plugin.words]\n[plugin.sounds]\n[model.chat]\nmodality = "words"\n'
BACKEND = '[[backend]]\nname = "b"\nurl = "http://x:1"\nserves = { chat = "engine" }\n'


def keyed(config: Config, *tenants: str) -> str:
    """Sections of tenants whose key files are `TENANT.keys`."""
    (config.folder / "pepper").write_text("pepper")
    lines = [f'[auth]\npepper = {{ file = "{config.folder}/pepper" }}']
    lines += [
        f'[tenant.{name}]\nkeys = {{ file = "{config.folder}/{name}.keys" }}' for name in tenants
    ]
    return "\n".join(lines) + "\n"


def test_mistakes_of_types_links_plugins_and_files_are_told_together(config: Config) -> None:
    found = config.told(
        "[plugin.wrods]\n[plugin.sounds]\nx = 1\n"
        '[model.chat]\nmodality = "words"\n'
        '[listen]\naddress = "127.0.0.1:99999"\ntls = { cert = "/none", key = "/none" }\n'
        '[[backend]]\nname = "a"\nurl = "http://x:1"\n'
        '[[backend]]\nname = "b"\nurl = "http://x:2"\nserves = { chatt = "engine" }\n'
    )

    assert [each.split(": ", 2)[:2] for each in found] == [
        ["modgate.toml:7", "listen.address"],
        ["modgate.toml:9", "backend[0].serves"],
        ["modgate.toml:1", "plugin.wrods"],
        ["modgate.toml:3", "plugin.sounds.x"],
        ["modgate.toml:8", "listen.tls.cert"],
        ["modgate.toml:15", "backend[1].serves.chatt"],
    ]
    assert found[2].endswith("; did you mean 'words'?")
    assert found[5].endswith("; did you mean 'chat'?")


def test_what_was_left_out_is_not_missed_where_it_is_named(config: Config) -> None:
    [problem] = config.told(
        BOTH.replace('modality = "words"', "modality = 3")
        + BACKEND
        + '[tenant.a]\nmodels = ["chat"]'
    )

    assert problem.startswith("modgate.toml:4: model.chat.modality: ")


def test_a_pepper_that_cannot_be_read_is_one_mistake(config: Config) -> None:
    text = keyed(config, "a").replace('pepper" }', 'papper" }')
    (config.folder / "a.keys").write_text("")

    [problem] = config.told(text)

    assert "auth.pepper" in problem


def test_what_a_file_that_is_not_there_may_hold_is_not_missed(config: Config) -> None:
    found = config.told(
        'include = ["missing.toml"]\ncors = 3\n[listen]\naddress = "0.0.0.0:8081"\n'
        f'[plugin.wrods]\n[model.say]\nmodality = "sounds"\n{BACKEND}'
        '[tenant.a]\nslo = "gold"\nregions = ["eu"]\nmodels = ["chat"]\n'
        f'keys = {{ file = "{config.folder}/a.keys" }}\n'
    )

    assert [each.split(": ")[1] for each in found] == [
        "include",
        "cors",
        "plugin.wrods",
        "tenant.a.keys.file",
        "admin.address",
    ]


def test_a_pattern_may_match_nothing_yet(config: Config) -> None:
    assert config.link('include = ["tenants/*.toml"]\n').tenants == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[listen]\naddress = "127.0.0.1:65536"', "2: listen.address: port 65536 is none"),
        ('[listen]\naddress = "::1:80"', '2: listen.address: reads "HOST:PORT", with an IPv6'),
        ('[listen]\naddress = "127.1:80"', "2: listen.address: '127.1' is no IP address"),
        ('[listen]\naddress = "[::g]:80"', "2: listen.address: '::g' is no IP address"),
        ('[listen]\naddress = ":80"', '2: listen.address: reads "HOST:PORT"'),
        ("[listen]\naddress = 80", '2: listen.address: reads "HOST:PORT"'),
        (
            '[listen]\naddress = "0.0.0.0:8081"',
            "1: admin.address: the public listener has 0.0.0.0:8081 already",
        ),
        ('[listen]\ntrusted_proxies = ["300.0.0.0/8"]', "2: listen.trusted_proxies[0]: no network"),
        ('[listen]\ntrusted_proxies = ["10.0.0.1/8"]', "2: listen.trusted_proxies[0]: no network"),
        ('[trace]\notlp = "nope"', '2: trace.otlp: reads "http://collector:4318"'),
        ('[cors]\norigins = ["app.example"]', "2: cors.origins[0]: an origin reads"),
        ('[cors]\norigins = ["https://app.example/"]', "2: cors.origins[0]: an origin reads"),
        ('[cors]\norigins = ["https://App.example"]', "2: cors.origins[0]: an origin reads"),
        ('[fetch]\nallow = ["*", "files.internal"]', "2: fetch.allow[1]: 'files.internal' is not"),
        (BOTH + BACKEND.replace('chat = "engine"', ""), "8: backend[0].serves: names no model"),
        (BOTH + BACKEND.replace("x:1", "x:1/?a=b"), "7: backend[0].url: paths are put behind it"),
        (BOTH + BACKEND.replace("x:1", "x:1/#a"), "7: backend[0].url: paths are put behind it"),
        (BOTH + BACKEND.replace("x:1", "x:1/v1"), "7: backend[0].url: paths are put behind it"),
        (BOTH + BACKEND.replace("x:1", "x:1/api/v1/"), "7: backend[0].url: paths are put behind"),
        ('[timeouts]\nidle = "0s"', "2: timeouts.idle: Input should be greater than 0"),
        (BOTH + BACKEND.replace("x:1", "x:99999"), "7: backend[0].url: is no URL: Port out of"),
        (BOTH + BACKEND.replace("x:1", "x:1/a b"), "7: backend[0].url: has a space in it"),
        (BOTH + BACKEND.replace("x:1", ":1"), "7: backend[0].url: names no host"),
        (
            f"{BOTH}{BACKEND}slots = 8\nslots_at_most = 4",
            "10: backend[0].slots_at_most: is less than `slots`, which is 8",
        ),
        (
            f'{BOTH}{BACKEND}[slo.gold.words]\ntotal = {{ base = "0s" }}',
            "10: slo.gold.words.total: is no time at all",
        ),
        (
            f"{BOTH}{BACKEND}[timeouts.llm]\ntotal = {{ base = 1 }}",
            "9: timeouts.llm: no enabled plugin brings the modality 'llm'; a plugin is switched on",
        ),
        (
            f"{BOTH}{BACKEND}[timeouts.words]\ntotal = {{ base = 0 }}",
            "10: timeouts.words.total: is no time at all",
        ),
        (
            f'{BOTH}{BACKEND}[slo.gold.words]\ntotal = {{ base = "1s", input_tokens = "nix" }}',
            "10: slo.gold.words.total.input_tokens: a duration reads",
        ),
        (
            "[plugin.words]\n[queue]\nweights = { gold = 2 }\n[slo.gold.sounds]\n"
            'total = { base = "1s" }',
            "4: slo.gold.sounds: no enabled plugin brings the modality 'sounds'",
        ),
        ("[limits]\nin_flight = true", "2: limits.in_flight: is a number"),
        (f"{BOTH}{BACKEND}slots = true", "9: backend[0].slots: is a number"),
        (BOTH + BACKEND.replace('"b"', '""'), "6: backend[0].name: String should match pattern"),
        (BOTH + BACKEND.replace('"b"', '"b\\n"'), "6: backend[0].name: String should match"),
        (
            f'{BOTH}{BACKEND}metrics_family = "vlm"',
            "9: backend[0].metrics_family: no metrics of 'vlm' are known; did you mean 'vllm'?",
        ),
        (
            f'{BOTH}[model.other]\nmodality = "words"\n{BACKEND}family = "nix"\n'.replace(
                'chat = "engine"', 'chat = "engine", other = "engine"'
            ),
            "11: backend[0].family: no dialect of words for 'nix'",
        ),
        (
            f'{BOTH}[[discover]]\nname = "d"\nkind = "file"\npath = "racks"\n'
            'serves = { chat = "engine" }',
            "8: discover[0].path: ends in .toml or .json",
        ),
        (
            f'{BOTH}{BACKEND}region = "eu"\n[tenant.a]\nregions = ["ue", "eu"]\n',
            "11: tenant.a.regions[0]: no backend stands in 'ue'",
        ),
    ],
)
def test_what_serving_would_trip_over_is_a_mistake(config: Config, text: str, said: str) -> None:
    [problem] = config.told(f"{text}\n")

    assert problem.startswith(f"modgate.toml:{said}")


def test_a_region_that_a_discoverer_may_find_is_no_mistake(config: Config) -> None:
    found = f'{BOTH}[[discover]]\nname = "d"\nserves = {{ chat = "e" }}\nregion = "us"\n'
    text = 'kind = "{}"\n{}\n[tenant.a]\nregions = ["eu"]\n'
    [told] = config.told(found + text.format("dns", 'host = "h"\nport = 1'))

    assert told.endswith("tenant.a.regions[0]: no backend stands in 'eu'")
    assert config.link(found + text.format("file", 'path = "list.json"')).file.discover


@pytest.mark.parametrize("origin", ["*", "http://localhost:3000", "https://app.example"])
def test_origins_as_browsers_send_them_are_none(config: Config, origin: str) -> None:
    assert config.link(f'[cors]\norigins = ["{origin}"]\n').file.cors.origins == (origin,)


def test_a_key_file_that_is_not_there_has_the_line_that_names_it(config: Config) -> None:
    [problem] = config.told(keyed(config, "a"))

    assert (
        problem
        == "modgate.toml:4: tenant.a.keys.file: a.keys cannot be read: no such file or directory"
    )


def test_a_junk_key_file_has_its_own_line(config: Config) -> None:
    (config.folder / "a.keys").write_text("# keys\njunk\n")

    [problem] = config.told(keyed(config, "a"))

    assert problem.startswith("a.keys:2: tenant.a.keys: a key line reads: ID DIGEST NAME")


def test_a_key_of_two_tenants_has_the_line_of_the_second(config: Config) -> None:
    _, stored = new_key(Secret("pepper"), name="a", env="test", random=os.urandom)
    for name in ("a", "b"):
        (config.folder / f"{name}.keys").write_text(f"# {name}\n{stored.line()}\n")

    [problem] = config.told(keyed(config, "a", "b"))

    assert problem.startswith(f"b.keys:2: tenant.b.keys: key id {stored.id} is tenant 'a's already")


def test_tls_files_that_do_not_belong_together_are_a_mistake(config: Config) -> None:
    (config.folder / "junk").write_text("junk")
    junk = config.folder / "junk"

    [problem] = config.told(f'[listen]\ntls = {{ cert = "{junk}", key = "{junk}" }}\n')

    assert problem.startswith(
        "modgate.toml:2: listen.tls.cert: junk and junk are no PEM certificate"
    )


def test_only_names_what_is_there() -> None:
    with pytest.raises(ConfigError) as caught:
        blueprint_of(None, installed=Installed(), extra=PLUGINS, only=["word"])

    assert str(caught.value) == (
        "command line: --only: 'word' is not installed; did you mean 'words'?; "
        "installed: words, sounds, house, advice"
    )


def test_the_start_without_a_file_is_as_quiet_as_it_says_and_can_be_told_otherwise() -> None:
    def level(**said: str) -> tuple[str, str]:
        overrides = {("log", each): value for each, value in said.items()}
        made = blueprint_of(None, installed=Installed(), extra=PLUGINS, overrides=overrides)
        [row] = [row for row in made.effective if row[0] == "log.level"]
        return row[1:]

    assert level() == ('"warning"', "start without a file")
    assert level(level="info") == ('"info"', "command line")


def test_of_a_file_of_nothing_but_mistakes_the_defaults_are_left(config: Config) -> None:
    file, left, problems = salvaged(config.source('listen = 3\nadmin = "x"\n'))

    assert [each.path for each in problems] == ["listen", "admin"]
    assert left.values == {}
    assert file == File()


def test_a_key_beside_a_models_facts_is_guessed(config: Config) -> None:
    [problem] = config.told(f'{BOTH}alises = ["x"]\n')

    assert problem == "modgate.toml:5: model.chat.alises: unknown key; did you mean 'aliases'?"


@pytest.mark.parametrize(
    ("written", "guess"), [("lmm", "llm"), ("vml", "vlm"), ("words", ""), ("ocr2", "ocr")]
)
def test_what_begins_like_it_is_the_better_guess(written: str, guess: str) -> None:
    assert close_to(written, ["vlm", "llm", "ocr"]) == guess
