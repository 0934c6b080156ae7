"""Reading files: strict, every mistake at once, each at its line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_configs import Config

from modgate.config.decode import decode
from modgate.config.source import read
from modgate.problems import ConfigError, Problem

calm = settings(derandomize=True, deadline=None, max_examples=300)

FIRST = '[[backend]]\nname = "x"\nurl = "http://x"\nserves = { m = "e" }\n'
SECOND = '[[backend]]\nname = "y"\nurl = "http://y"\nserves = { m = "e" }\n'


def told(config: Config, text: str, **more: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.decode(text, **more)
    return [str(each).replace(f"{config.folder}/", "") for each in caught.value.problems]


def test_what_a_file_does_not_say_is_as_by_default(config: Config) -> None:
    file = config.decode("[listen]")

    assert str(file.listen.address) == "127.0.0.1:8080"
    assert str(file.admin.address) == "127.0.0.1:8081"
    assert file.fetch.allow == ()
    assert file.timeouts.client_stalled == 30.0


@pytest.mark.parametrize("text", ["", " \n\n", "# all of it is a comment\n"])
def test_a_file_with_nothing_in_it_is_a_mistake(config: Config, text: str) -> None:
    [problem] = told(config, text)

    assert problem.startswith("modgate.toml:1: there is nothing in it")


def test_an_included_file_may_be_a_comment_and_not_empty(config: Config) -> None:
    text = 'include = ["more/*.toml"]\n'
    (config.folder / "more").mkdir()
    (config.folder / "more/a.toml").write_text("# nobody yet\n")
    assert config.told(text + "cors = 3") == ["modgate.toml:2: cors: is a table"]
    (config.folder / "more/a.toml").write_text("\n")

    [problem] = told(config, text)

    assert problem.startswith("more/a.toml:1: there is nothing in it")


def test_values_are_read_in_their_own_words(config: Config) -> None:
    file = config.decode('[timeouts]\nidle = "1m30s"\n[spool]\nat_most = "2GiB"\n')

    assert file.timeouts.idle == 90.0
    assert file.spool.at_most == 2 << 30


def test_every_mistake_is_told_at_once_with_its_line_and_a_guess(config: Config) -> None:
    text = '[listen]\nadress = "x"\n\n[lisen]\n[timeouts]\nidle = "3 parsecs"\n[queue]\ncalls = 0\n'

    found = told(config, text)

    assert sorted(found) == [
        "modgate.toml:2: listen.adress: unknown key; did you mean 'address'?",
        "modgate.toml:4: lisen: unknown key; did you mean 'listen'?",
        'modgate.toml:6: timeouts.idle: a duration reads "30s", "250ms" or "1h30m"',
        "modgate.toml:8: queue.calls: Input should be greater than or equal to 1",
    ]


def test_a_key_that_is_missing_is_told_at_its_section(config: Config) -> None:
    [first, *_] = told(config, '[listen]\n\n[[backend]]\nname = "a"\nserves = { m = "x" }\n')

    assert first == "modgate.toml:3: backend[0].url: is required"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tenant.acme]\nregions = "eu"', '2: tenant.acme.regions: is a list, such as ["a", "b"]'),
        ('[tenant]\nacme = "x"', "2: tenant.acme: is a table"),
        ("[tenant.acme]\nbatch_shared = 7", "2: tenant.acme.batch_shared: is true or false"),
    ],
)
def test_a_value_of_another_kind_is_told_in_the_files_words(
    config: Config, text: str, said: str
) -> None:
    assert config.told(text) == [f"modgate.toml:{said}"]


def test_a_secret_in_clear_is_refused_and_not_repeated(config: Config) -> None:
    [problem] = told(config, '[auth]\npepper = "hunter2"\n')

    assert problem.startswith("modgate.toml:2: auth.pepper: a secret is given by reference")
    assert "hunter2" not in problem


def test_no_secret_is_shown_by_the_decoded_file(config: Config) -> None:
    (config.folder / "pepper").write_text("hunter2")

    file = config.decode(f'[auth]\npepper = {{ file = "{config.folder}/pepper" }}\n')

    assert file.auth.pepper is not None
    assert file.auth.pepper.reveal() == "hunter2"
    assert "hunter2" not in repr(file)


def test_text_that_is_no_toml_is_told_with_its_line(config: Config) -> None:
    [problem] = told(config, "[listen]\n\naddress = \n")

    assert problem == "modgate.toml:3: not valid TOML: Invalid value (at line 3, column 11)"


def test_included_files_add_to_the_whole(config: Config) -> None:
    file = config.decode(
        f'include = ["[ab].toml"]\n{FIRST}',
        a=f"[tenant.acme]\n{SECOND}",
        b="[tenant.zeta]\n",
    )

    assert [each.name for each in file.backend] == ["x", "y"]
    assert list(file.tenant) == ["acme", "zeta"]


def test_a_mistake_in_an_included_file_is_told_there(config: Config) -> None:
    found = told(
        config,
        f'include = ["a.toml"]\n{FIRST}',
        a='\n[tenant.acme]\nslow = "gold"\n' + SECOND.replace('"http://y"', "3"),
    )

    assert sorted(found) == [
        "a.toml:3: tenant.acme.slow: unknown key; did you mean 'slo'?",
        "a.toml:6: backend[1].url: is a text",
    ]


def test_one_in_any_list_is_told_in_its_own_file(config: Config) -> None:
    text = 'include = ["a.toml"]\n[[discover]]\nname = "x"\nkind = "file"\nserves = { m = "e" }\n'

    assert told(config, text, a='\n\n[[discover]]\nname = "y"\nkind = "file"\n') == [
        "a.toml:3: discover[1].serves: is required"
    ]


def test_a_file_that_two_patterns_find_is_read_once(config: Config) -> None:
    text = 'include = ["*.toml", "a.toml"]\n'

    assert len(config.decode(text, a=f"{FIRST}[tenant.acme]\n").backend) == 1


def test_a_section_that_two_files_set_is_a_mistake(config: Config) -> None:
    twice = "[tenant.zeta]\n[tenant.acme]\nweight = 2\n[queue]\ncalls = 3\n"
    text = 'include = ["a.toml"]\n[tenant.acme]\n[queue]\nshare = 1.0\ncalls = 2\n'

    assert told(config, text, a=twice) == [
        "a.toml:2: tenant.acme: is set in two files, in modgate.toml:2, too",
        "a.toml:5: queue.calls: is set in two files, in modgate.toml:5, too",
    ]


def test_a_file_that_is_included_includes_no_others_and_is_told_so(config: Config) -> None:
    [problem] = told(
        config, 'include = ["a.toml"]\n', a='\ninclude = ["b.toml"]\n', b="[tenant.b]\n"
    )

    assert problem == "a.toml:2: include: is read in the first file only; name these files there"


def test_a_pattern_that_finds_the_first_file_itself_does_not_read_it_twice(config: Config) -> None:
    file = config.decode('include = ["*.toml"]\n[tenant.acme]\n', a="[tenant.zeta]\n")

    assert list(file.tenant) == ["acme", "zeta"]


def test_a_pattern_that_finds_nothing_is_no_mistake(config: Config) -> None:
    assert config.decode('include = ["tenants/*.toml"]\n').include == ("tenants/*.toml",)


@pytest.mark.parametrize(
    "pattern",
    [
        "/etc/*.toml",
        "",
        pytest.param(
            "**.toml",
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python follows it now"),
        ),
    ],
)
def test_a_pattern_that_cannot_be_followed_is_a_mistake(config: Config, pattern: str) -> None:
    [problem] = told(config, f'include = ["{pattern}"]\n')

    assert "include: " in problem


def test_a_folder_in_place_of_an_included_file_is_a_mistake(config: Config) -> None:
    (config.folder / "sub").mkdir()

    [problem] = told(config, 'include = ["sub"]\n')

    assert "sub: cannot be read" in problem or "sub:1: cannot be read" in problem


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        'backend = 3\ninclude = ["a.toml"]',
        'backend = "x"\ninclude = ["a.toml"]',
        '[spool]\nat_most = "' + "9" * 400 + 'GB"',
        "[timeouts]\nidle = inf",
    ],
)
def test_odd_files_are_mistakes_like_others(config: Config, text: str) -> None:
    assert told(config, text, a="[[backend]]\n")


def test_a_file_that_is_not_utf8_is_a_mistake(config: Config) -> None:
    path = config.write("")
    path.write_bytes(b"# \xff\n")

    with pytest.raises(ConfigError, match="not valid TOML"):
        decode(read(path))


def test_a_first_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "modgate.toml")


VALUES = st.recursive(
    st.one_of(
        st.integers(-5, 10**20).map(str),
        st.sampled_from(["true", "inf", "nan", "1979-05-27", '"30s"', '"50/s"', '"x"', '""']),
        st.text(alphabet="ab \u00e9/:.", max_size=6).map(lambda text: f'"{text}"'),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["env", "file", "base", "a", "base.b"]), inner, max_size=2
        ).map(
            lambda table: "{" + ", ".join(f"{key} = {each}" for key, each in table.items()) + "}"
        ),
    ),
    max_leaves=5,
)
SECTIONS = [
    *("listen", "admin", "state", "auth", "ledger", "timeouts", "timeouts.llm", "limits", "cors"),
    *(
        "spool",
        "decoders",
        "fetch",
        "local",
        "log",
        "trace",
        "plugin.llm",
        "model.m",
        "slo.gold.llm",
    ),
    *("[backend]", "tenant.acme", "tenant.acme.limits", "nonsense", "listen.tls"),
]
KEYS = [
    *("address", "tls", "key", "directory", "pepper", "segment", "idle", "drain", "first_byte"),
    *("in_flight", "origins", "at_most", "processes", "allow", "slots", "level", "otlp", "sample"),
    *("modality", "aliases", "total", "name", "url", "serves", "offers", "keys", "slo", "regions"),
    *("requests", "units", "models", "nonsense"),
]
PAIRS = st.tuples(st.sampled_from(KEYS), VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}")
TABLES = st.tuples(st.sampled_from(SECTIONS), st.lists(PAIRS, max_size=4)).map(
    lambda table: "\n".join([f"[{table[0]}]", *table[1]])
)
FILES = st.tuples(
    st.lists(
        st.tuples(st.sampled_from(["include", "backend", "plugin", "listen", "slo"]), VALUES).map(
            lambda pair: f"{pair[0]} = {pair[1]}"
        ),
        max_size=2,
    ),
    st.lists(TABLES, max_size=6),
).map(lambda parts: "\n".join([*parts[0], *parts[1]]))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One folder for all examples of a property."""
    return Config(tmp_path_factory.mktemp("config"))


def mistakes(attempt: Callable[[], object]) -> Sequence[Problem]:
    """The mistakes of a file; none when it can be decoded.  Anything else that is raised is out."""
    try:
        attempt()
    except ConfigError as error:
        return error.problems or pytest.fail("refused without a reason")
    return ()


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=100)  # each reads four files
@given(first=FILES, second=FILES)
def test_any_file_is_linked_or_every_mistake_is_told(
    shared: Config, first: str, second: str
) -> None:
    text = f'include = ["b.toml"]\n{first}'
    alone = mistakes(lambda: shared.decode(text, b=second))

    together = mistakes(lambda: shared.link(text, b=second))

    assert together[: len(alone)] == alone
    assert all(each.message for each in together)


@calm
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(shared: Config, raw: bytes) -> None:
    path = shared.folder / "any.toml"
    path.write_bytes(raw)

    found = mistakes(lambda: decode(read(path)))

    assert all(each.message for each in found)
