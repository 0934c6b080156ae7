"""What the file names must exist; each mistake says what to write instead."""

from __future__ import annotations

import pytest
from made_configs import Config
from made_plugins import Words

from modgate.api.model import EVERY_MODEL
from modgate.config.decode import decode
from modgate.config.link import validator
from modgate.config.mistakes import Mistakes
from modgate.config.schema import ModelSection
from modgate.config.source import Source
from modgate.plugin import Rate, Target
from modgate.problems import ConfigError

BOTH = '[plugin.words]\n[plugin.sounds]\n[model.chat]\nmodality = "words"\n'
BACKEND = '[[backend]]\nname = "b"\nurl = "http://x:1"\nserves = { chat = "engine" }\n'


def test_a_whole_file_becomes_the_values_that_mechanisms_want(config: Config) -> None:
    found = config.link(
        "[plugin.words]\nmost = 3\n"
        '[model.chat]\nmodality = "words"\naliases = ["gpt"]\ncontext = 9\n'
        '[[backend]]\nname = "eu-1"\nurl = "http://10.0.0.1:8000"\nregion = "eu"\nslots = 4\n'
        'serves = { chat = "Qwen/Qwen3" }\noffers = { voice = ["amy"] }\n'
        '[tenant.acme]\nregions = ["eu"]\nmodels = ["chat"]\nlimits = { requests = "50/s" }\n'
    )

    [backend] = found.backends
    [tenant] = found.tenants
    assert found.models["chat"].aliases == ("gpt",)
    assert found.models["chat"].facts.model_dump() == {"context": 9}
    assert (backend.serves, backend.slots, backend.region) == ({"chat": "Qwen/Qwen3"}, 4, "eu")
    assert backend.offers == {"voice": frozenset({"amy"})}
    assert tenant.policy.regions == frozenset({"eu"})
    assert tenant.policy.may_use("chat")
    assert not tenant.policy.may_use("other")
    assert tenant.policy.limits.rates == (Rate(unit="requests", amount=50, period="second"),)


def test_a_model_of_a_plugin_that_is_off_gives_the_line_to_add(config: Config) -> None:
    found = config.told(f'[plugin.words]\n[model.chat]\nmodality = "sounds"\n{BACKEND}')

    assert found[0].startswith("modgate.toml:3: model.chat.modality: no enabled plugin brings")
    assert found[0].endswith("[plugin.sounds]")
    assert found[1] == (
        "modgate.toml:7: backend[0].serves.chat: its modality is not enabled; add [plugin.sounds]"
    )


def test_a_plugin_of_another_modality_is_not_to_be_switched_on_again(config: Config) -> None:
    _, *found = config.told(
        f'[plugin.words]\n[plugin.pair]\n[model.chat]\nmodality = "pair"\n{BACKEND}'
    )

    assert found[0].endswith("modality 'pair'; those that are switched on bring: words")
    assert found[1].endswith("serves.chat: no enabled plugin brings its modality 'pair'")


def test_a_misspelt_modality_is_guessed(config: Config) -> None:
    [problem] = config.told('[plugin.words]\n[model.chat]\nmodality = "wrods"\n')

    assert "did you mean 'words'?" in problem


def test_a_backend_that_serves_an_unknown_model_is_told_with_a_guess(config: Config) -> None:
    [problem] = config.told(BOTH + BACKEND.replace("chat =", "chatt ="))

    assert (
        problem == "modgate.toml:8: backend[0].serves.chatt: no [model.chatt]; did you mean 'chat'?"
    )


def test_a_family_without_a_dialect_is_told_with_those_that_there_are(config: Config) -> None:
    [problem] = config.told(BOTH + BACKEND + 'family = "vllm"\n')

    assert "no dialect of words for 'vllm'; known: ['home']" in problem


def test_two_backends_of_one_engine_are_a_mistake(config: Config) -> None:
    second = BACKEND.replace('"b"', '"c"').replace("x:1", "x:1/")

    [problem] = config.told(BOTH + BACKEND + second)

    assert "backend[1].url: is the same engine as 'b'" in problem


def test_two_backends_of_one_name_are_a_mistake(config: Config) -> None:
    [problem] = config.told(BOTH + BACKEND + BACKEND.replace("x:1", "y:1"))

    assert problem.endswith("backend[1].name: 'b' is used twice")


def test_a_url_of_another_scheme_is_a_mistake(config: Config) -> None:
    [problem] = config.told(BOTH + BACKEND.replace("http:", "ftp:"))

    assert "backend[0].url: must begin with http:// or https://" in problem


def test_a_name_that_two_models_have_is_a_mistake(config: Config) -> None:
    [problem] = config.told(BOTH + '[model.b]\nmodality = "words"\naliases = ["chat"]\n')

    assert problem == "modgate.toml:5: model.b: the name 'chat' is taken by 'chat'"


def test_facts_are_checked_by_the_modalitys_own_type(config: Config) -> None:
    [problem] = config.told(BOTH + "contxt = 3\n")

    assert problem == "modgate.toml:5: model.chat.contxt: unknown key; did you mean 'context'?"


def test_a_plugins_section_is_checked_by_its_own_type(config: Config) -> None:
    [problem] = config.told("[plugin.words]\nmots = 3\n")

    assert problem == "modgate.toml:2: plugin.words.mots: unknown key; did you mean 'most'?"


def test_sections_of_several_plugins_are_checked_at_once(config: Config) -> None:
    found = config.told("[plugin.words]\nmost = 0\n[plugin.sounds]\nx = 1\n")

    assert [each.split(": ")[1] for each in found] == ["plugin.words.most", "plugin.sounds.x"]


def test_a_key_that_a_plugin_must_have_is_a_mistake_and_not_a_crash() -> None:
    source = Source(values={"plugin": {"words": {}}})

    class Must(Words.config_type):
        need: int

    with pytest.raises(ConfigError, match=r"plugin\.words\.need: is required"):
        validator(decode(source), Mistakes(source))("words", Must)


def test_a_model_that_a_plugin_names_must_be_one_of_that_modality(config: Config) -> None:
    text = BOTH.replace("[plugin.words]", '[plugin.words]\nguard = "ears"')

    [problem] = config.told(text + '[model.ears]\nmodality = "sounds"\n')

    assert problem.startswith("modgate.toml:2: plugin.words.guard: 'ears' is no words model")
    assert config.link(text.replace("ears", "chat")).models


def test_each_of_several_models_that_a_plugin_names_must_be_there(config: Config) -> None:
    text = BOTH.replace("[plugin.words]", '[plugin.words]\nguards = ["chat", "chap"]')

    assert config.told(text) == [
        "modgate.toml:2: plugin.words.guards[1]: 'chap' is no words model; did you mean 'chat'?"
    ]
    assert config.link(text.replace("chap", "chat")).models


def test_a_unit_without_its_modality_is_told_whose_there_are(config: Config) -> None:
    [problem] = config.told(BOTH + '[tenant.a.limits.units]\noutput_tokens = "1/s"\n')

    assert "say whose: sounds.output_tokens, words.output_tokens, or '*.output_tokens'" in problem


def test_an_unknown_unit_is_told_with_a_guess_and_the_known_ones(config: Config) -> None:
    [problem] = config.told(BOTH + '[tenant.a.limits.units]\n"words.output_token" = "1/s"\n')

    assert "unknown unit; did you mean 'words.output_tokens'?; known: sounds.audio" in problem


def test_a_unit_is_limited_by_the_name_that_is_shown(config: Config) -> None:
    text = BOTH + '[tenant.a.limits.units]\n"sounds.NAME" = "36000/hour"\n'

    [tenant] = config.link(text.replace("NAME", "audio_seconds")).tenants

    [rate] = tenant.policy.limits.rates
    assert rate == Rate(unit="sounds.audio_ms", amount=36_000_000, period="hour")
    assert "unknown unit" in config.told(text.replace("NAME", "audio_ms"))[0]


@pytest.mark.parametrize(
    ("written", "amount"),
    [("0.07/s", 70), ("2.007/s", 2007), ("4.35/s", 4350), ("8.2/s", 8200), ("0.0001/s", 1)],
)
def test_a_shown_amount_is_scaled_without_a_rounding_error(
    config: Config, written: str, amount: int
) -> None:
    text = BOTH + f'[tenant.a.limits.units]\n"sounds.audio_seconds" = "{written}"\n'

    [tenant] = config.link(text).tenants

    assert [each.amount for each in tenant.policy.limits.rates] == [amount]


def test_a_star_means_every_modality_that_has_the_unit(config: Config) -> None:
    [tenant] = config.link(BOTH + '[tenant.a.limits.units]\n"*.output_tokens" = "9/s"\n').tenants

    assert {each.unit for each in tenant.policy.limits.rates} == {
        "words.output_tokens",
        "sounds.output_tokens",
    }


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_units_own_rate_takes_the_place_of_the_stars(config: Config, order: slice) -> None:
    # A limit's level is kept by unit and period: two amounts for one level would leak at the
    # larger, and the smaller would not hold.
    rows = ['"*.output_tokens" = "200k/min"\n', '"words.output_tokens" = "100k/min"\n'][order]

    [tenant] = config.link(BOTH + "[tenant.a.limits.units]\n" + "".join(rows)).tenants

    amounts = {each.unit: each.amount for each in tenant.policy.limits.rates}
    assert len(tenant.policy.limits.rates) == 2
    assert amounts == {"words.output_tokens": 100_000, "sounds.output_tokens": 200_000}


def test_rates_of_different_periods_stand_side_by_side(config: Config) -> None:
    rows = '"*.output_tokens" = "200k/min"\n"words.output_tokens" = "1M/day"\n'

    [tenant] = config.link(f"{BOTH}[tenant.a.limits.units]\n{rows}").tenants

    mine = {e.period for e in tenant.policy.limits.rates if e.unit == "words.output_tokens"}
    assert mine == {"minute", "day"}


@pytest.mark.parametrize("written", ["0.5/s", "1.5/min"])
def test_a_part_of_a_request_is_a_mistake(config: Config, written: str) -> None:
    [problem] = config.told(BOTH + f'[tenant.a.limits]\nrequests = "{written}"\n')

    assert problem.startswith("modgate.toml:6: tenant.a.limits.requests: ")
    assert "whole" in problem


@pytest.mark.parametrize(
    ("limit", "fits", "too_much"),
    [
        ("requests", "2G/h", "3G/h"),
        ('units."words.output_tokens"', "150G/min", "151G/min"),
        ('units."sounds.audio_seconds"', "2M/h", "3M/h"),
        ('units."words.output_tokens"', "9000000G/day", "9100000G/day"),
    ],
)
def test_a_limit_that_a_store_could_not_count_exactly_is_a_mistake(
    config: Config, limit: str, fits: str, too_much: str
) -> None:
    text = BOTH + f'[tenant.a.limits]\n{limit} = "AMOUNT"\n'
    config.link(text.replace("AMOUNT", fits))

    [problem] = config.told(text.replace("AMOUNT", too_much))

    assert problem.endswith("is more than can be counted; take a shorter period")


def test_a_tenant_names_models_and_slo_classes_that_exist(config: Config) -> None:
    text = '[slo.gold.words]\ntotal = { base = "1s" }\n[tenant.a]\nslo = "glod"\nmodels = ["cat"]\n'

    found = config.told(BOTH + text)

    assert sorted(found) == [
        "modgate.toml:8: tenant.a.slo: no [slo.glod]; did you mean 'gold'?",
        "modgate.toml:9: tenant.a.models[0]: no [model.cat]; did you mean 'chat'?",
    ]


def test_a_queue_names_classes_that_exist_and_a_tenant_has_its_weight(config: Config) -> None:
    slo = '[slo.gold.words]\ntotal = { base = "1s" }\n'
    wrong = '[queue]\nweights = { glod = 2 }\npatience = { gold = "5s", lead = "1s" }\n'

    found = config.told(BOTH + slo + wrong)
    tenants = config.link(BOTH + slo + '[tenant.a]\nslo = "gold"\nweight = 2.5\n').tenants

    assert [problem.partition(": ")[2] for problem in found] == [
        "queue.weights.glod: no [slo.glod]; did you mean 'gold'?",
        "queue.patience.lead: no [slo.lead]",
    ]
    assert tenants[0].policy.weight == 2.5


def test_keys_without_a_pepper_give_the_line_to_add(config: Config) -> None:
    path = config.folder / "acme.keys"
    path.write_text("# none yet\n")

    [problem] = config.told(BOTH + f'[tenant.a]\nkeys = {{ file = "{path}" }}\n')

    assert problem.startswith(
        "modgate.toml:6: tenant.a.keys: keys need a pepper: add [auth] pepper"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1"])
def test_an_admin_listener_off_loopback_wants_a_key(config: Config, host: str) -> None:
    [problem] = config.told(f'[admin]\naddress = "{host}:8081"\n')

    assert problem.startswith("modgate.toml:2: admin.address: off loopback it needs a key")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_an_admin_listener_on_loopback_wants_none(config: Config, host: str) -> None:
    assert config.link(f'[admin]\naddress = "{host}:8081"\n').file.admin.key is None


def test_targets_are_told_in_shown_units_and_kept_in_counted_ones(config: Config) -> None:
    row = 'total = { base = "300ms", audio_seconds = "100ms", objective = 0.99 }'

    found = config.link(f"{BOTH}[slo.gold.sounds]\n{row}\n").targets

    target = found["gold"]["sounds"]["total"]
    assert target.base_s == pytest.approx(0.3)
    assert target.per_unit == pytest.approx({"audio_ms": 0.0001})
    assert target.objective == 0.99


def test_targets_know_their_units_phases_and_modalities(config: Config) -> None:
    found = config.told(
        BOTH + '[slo.gold.sounds]\ntotal = { base = "1s", audio_ms = "1ms" }\n'
        'totl = { base = "1s" }\n[slo.gold.word]\ntotal = { base = "1s" }\n'
    )

    assert "sounds has no unit 'audio_ms'; known: audio_seconds, output_tokens" in found[0]
    assert "unknown phase; known: first_byte, between, total" in found[1]
    assert "did you mean 'words'?" in found[2]


def test_deadlines_are_the_plugins_own_until_the_file_says_otherwise(config: Config) -> None:
    row = '[timeouts.words]\ntotal = { base = "3s", input_tokens = "1ms" }\n'

    found = config.link(BOTH + row).deadlines["words"]

    assert found["first_byte"] == Target(base_s=60.0)
    assert found["total"].base_s == 3.0
    assert found["total"].per_unit == {"input_tokens": 0.001}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('[timeouts.wrods]\ntotal = { base = "1s" }', "modality 'wrods'; did you mean 'words'?"),
        ('[timeouts]\nidel = "3s"', "unknown key; did you mean 'idle'?"),
        ('[timeouts.words]\nbetween = { base = "1s" }', "unknown phase; known: first_byte, total"),
        ('[timeouts.words]\ntotal = { bsae = "1s" }', "is required"),
        ('[timeouts.words]\ntotal = { base = "1s", pages = "1s" }', "words has no unit 'pages'"),
    ],
)
def test_a_deadline_that_fits_nothing_is_a_mistake(config: Config, row: str, said: str) -> None:
    assert any(said in problem for problem in config.told(f"{BOTH}{row}\n"))


def test_every_mistake_of_linking_is_told_at_once(config: Config) -> None:
    found = config.told(
        BOTH + BACKEND.replace("chat", "cat") + '[tenant.a]\nslo = "x"\n'
        '[admin]\naddress = "0.0.0.0:1"\n[timeouts]\nidel = "3s"\n'
    )

    assert len(found) == 4


SHARED = (
    '[tenant.acme]\nmodels = ["chat"]\nregions = ["eu"]\nbatch_shared = true\n'
    'limits = { requests = "50/s", each_key = { requests = "5/s" } }\n'
    '[tenant.acme.key.abcdefghijkl]\nlimits = { requests = "1/s" }\n'
)


def test_a_keys_own_limits_stand_beside_those_of_its_tenant(config: Config) -> None:
    found = config.link(BOTH + BACKEND + 'region = "eu"\n' + SHARED)

    [tenant] = found.tenants
    own = tenant.keys["abcdefghijkl"]
    assert own.limits.rates == (
        Rate(unit="requests", amount=50, period="second"),
        Rate(unit="requests", amount=1, period="second", each_key=True),
    )
    assert (own.models, own.regions) == (frozenset({"chat"}), frozenset({"eu"}))
    assert own.batch_shared


def test_a_key_may_not_have_what_its_tenant_has_not(config: Config) -> None:
    more = '[[backend]]\nname = "c"\nurl = "http://y:1"\nregion = "us"\nserves = { other = "o" }\n'
    text = BOTH + '[model.other]\nmodality = "words"\n' + BACKEND + 'region = "eu"\n' + more
    own = 'models = ["other"]\nregions = ["us"]\nmodalities = ["wrods"]\n'
    told = config.told(text + SHARED.replace('limits = { requests = "1/s" }\n', own))

    assert [each.split(".key.abcdefghijkl.")[1] for each in told] == [
        "modalities[0]: no model is of the modality 'wrods'; did you mean 'words'?",
        "models[0]: 'other' is no model of the tenant",
        "regions[0]: 'us' is no region of the tenant",
    ]


def test_modalities_leave_the_models_that_are_of_them(config: Config) -> None:
    text = BOTH + '[model.song]\nmodality = "sounds"\n[tenant.acme]\nmodalities = ["sounds"]\n'
    found = config.link(text)

    [tenant] = found.tenants
    assert (tenant.policy.may_use("song"), tenant.policy.may_use("chat")) == (True, False)


def test_a_store_that_gateways_share_needs_their_one_pepper(config: Config) -> None:
    [problem] = config.told('[auth]\nstore = "/var/lib/shared/tenants.db"\n')

    assert problem.startswith("modgate.toml:2: auth.store: keys need a pepper: add [auth] pepper")


def test_the_keys_that_no_fact_may_take_are_those_of_every_model() -> None:
    assert ModelSection.model_fields.keys() == EVERY_MODEL
