"""Which models may stand in for which, as a file says it; and what is done in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_configs import Config
from made_plugins import Sounds, Words, WordsConfig, WordsFacts

from modgate.api.model import Model
from modgate.api.select import Fallback
from modgate.config.link import Linked
from modgate.fallback import Chains
from modgate.plugin import Caller, Policy, StandIn
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of

ENGINE = '[[backend]]\nname = "b"\nurl = "http://x:1"\nserves = {{ {} }}\n'
SERVED = ENGINE.format('chat = "e", small = "s"')


@pytest.fixture(autouse=True)
def _words_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Words, "stand_in", StandIn(said=("context",)))


def file(
    fallback: str, *, chat: str = "context = 9", small: str = "context = 9", more: str = ""
) -> str:
    return (
        f'[plugin.words]\n[plugin.sounds]\n[model.chat]\nmodality = "words"\n{chat}\n'
        f'fallback = {fallback}\n[model.small]\nmodality = "words"\n{small}\n{SERVED}{more}'
    )


def test_a_chain_is_names_or_names_with_their_reasons(config: Config) -> None:
    found = config.link(file('["small"]')).chains
    narrow = config.link(file('[{ model = "small", on = ["failed"] }]')).chains

    [link] = found["chat"]
    assert (link.model, link.on) == ("small", {"unmet", "failed", "unavailable"})
    assert [each.on for each in narrow["chat"]] == [{"failed"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (file('["smal"]'), "no [model.smal]; did you mean 'small'?"),
        (file('["chat"]'), "a model does not stand in for itself"),
        (file('["small", "small"]'), "'small' is there twice"),
        (file('[{ model = "small", on = [] }]'), "stands in for nothing"),
        (file('[{ model = "small", on = ["late"] }]'), "unmet"),
        (file('["small"]', small="context = 8"), "'small' has context = 8, and this one 9"),
        (file('["small"]', small=""), "[model.small] must say its `context`"),
        (file('["small"]', chat=""), "[model.chat] must say its `context`"),
        (
            file('["noise"]', more='[model.noise]\nmodality = "sounds"\n'),
            "'noise' is of the modality sounds, and this one of words",
        ),
        (file('["a", "b", "c", "d", "e"]'), "has 5 models; at most 4 are asked"),
    ],
)
def test_a_chain_that_does_not_fit_is_told(config: Config, text: str, told: str) -> None:
    found = config.told(text)

    assert any("model.chat.fallback" in each and told in each for each in found), found


def test_a_modality_that_does_not_say_what_must_be_alike_has_no_chains(config: Config) -> None:
    assert Sounds.stand_in is None
    two = '[model.a]\nmodality = "sounds"\nfallback = ["b"]\n[model.b]\nmodality = "sounds"\n'
    [problem] = config.told("[plugin.sounds]\n" + two)

    assert "sounds does not say what its models must share" in problem


def test_engines_with_different_names_for_a_model_are_alike_only_if_its_facts_say_so(
    config: Config,
) -> None:
    other = '[[backend]]\nname = "c"\nurl = "http://y:1"\nserves = { chat = "other" }\n'
    config.link(file("[]", more=other))
    [problem] = config.told(file("[]", chat="", more=other))

    assert problem.endswith(
        "backend[1].serves.chat: 'other' and another engine's 'e' may not be the same: "
        "say `context` in [model.chat], which then hold for both"
    )


@pytest.mark.parametrize(("said", "named"), [("context = 9", set()), ("", {"chat"})])
def test_engines_that_are_found_have_the_sections_name_for_such_a_model(
    config: Config, said: str, named: set[str]
) -> None:
    found = '[[discover]]\nname = "pods"\nkind = "dns"\nhost = "x"\nport = 1\n'
    served = 'serves = { chat = "e", small = "s" }\n'
    [configured] = config.link(file("[]", chat=said, more=found + served)).discoverers

    assert configured.named == named


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ('"queue"', ("queue",)),
        ('["fallback", "queue", "refuse"]', ("fallback", "queue", "refuse")),
        ('["best_effort", "fallback", "refuse"]', ("best_effort", "fallback", "refuse")),
    ],
)
def test_what_is_done_where_no_promise_is_kept_is_one_step_or_several(
    config: Config, said: str, steps: tuple[str, ...]
) -> None:
    slo = '[slo.gold.words]\ntotal = { base = "1s" }\n[select]\n'
    found = config.link(file("[]", more=f"{slo}unmet = {{ gold = {said} }}\n"))

    assert found.unmet == {"gold": steps}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[]", "says nothing"),
        ('["fallback"]', "ends with fallback"),
        ('["queue", "queue"]', "says a step twice"),
        ('["refuse", "queue"]', "says queue after refuse"),
        ('["queue", "best_effort"]', "says best_effort after queue"),
        ('["queue", "fallback", "refuse"]', "says fallback after queue"),
    ],
)
def test_steps_that_lead_nowhere_are_told(config: Config, said: str, told: str) -> None:
    slo = '[slo.gold.words]\ntotal = { base = "1s" }\n[select]\n'
    [problem] = config.told(file("[]", more=f"{slo}unmet = {{ gold = {said} }}\n"))

    assert "select.unmet.gold" in problem
    assert told in problem


# --- where a request is


def test_a_request_takes_no_chain_that_is_not_alike_whoever_made_it(config: Config) -> None:
    found = config.link(file('["small"]'))
    words = Words(WordsConfig())
    models = {**found.models, "other": Model(name="other", modality="words", facts=WordsFacts())}
    links = [Fallback(model=name) for name in ("other", "gone", "small")]
    chains = Chains(models=models, modalities={"words": words}, by_model={"chat": links})

    def up(models: frozenset[str] | None, *, agreed: bool) -> str | None:
        policy = Policy(fallback=agreed, models=models, visible=models)
        chain = chains.of("chat", Caller(tenant="t", key_id="k", policy=policy))
        return None if chain is None else chain.first("failed", lambda name: True)

    assert up(None, agreed=True) == "small"
    assert up(frozenset({"chat", "small"}), agreed=True) == "small"
    assert up(frozenset({"chat", "other"}), agreed=True) is None
    assert up(None, agreed=False) is None
    assert chains.of("small", Caller(tenant="t", key_id="k")) is None


# --- the first-party modalities


def linked(folder: Path, modality: str, one: str, other: str) -> Linked:
    path = folder / "modgate.toml"
    path.write_text(
        f'[plugin.{modality}]\n[model.a]\nmodality = "{modality}"\nfallback = ["b"]\n{one}\n'
        f'[model.b]\nmodality = "{modality}"\n{other}\n'
        '[[backend]]\nname = "x"\nurl = "http://x:1"\nserves = { a = "a", b = "b" }\n'
    )
    return blueprint_of(path).linked


SPACE = 'space = "bge-m3"\ndimensions = 1024'
VOICES = 'voices = ["amy"]\nvoice_map = { alloy = "amy" }'


@pytest.mark.parametrize(
    ("modality", "one", "other", "told"),
    [
        ("embedding", "", "", "[model.a] must say its `space` and `dimensions`"),
        ("embedding", SPACE, "dimensions = 1024", "[model.b] must say its `space`"),
        ("embedding", SPACE, SPACE.replace("bge-m3", "e5"), "space = e5"),
        ("embedding", SPACE, SPACE.replace("1024", "768"), "dimensions = 768"),
        ("embedding", SPACE, f'{SPACE}\nprefixes = {{ query = "q: " }}', "prefixes"),
        ("tts", "", "", "[model.a] must say its `voices`"),
        ("tts", VOICES, VOICES.replace('"amy"]', '"amy", "bob"]'), "voices = amy, bob"),
        ("tts", VOICES, 'voices = ["amy"]', "voice_map"),
        ("tts", VOICES, f"{VOICES}\nsample_rate = 16000", "sample_rate = 16000"),
        ("ocr", "", "", "[model.a] must say its `page_schema`"),
        ("ocr", 'page_schema = "lines"', 'page_schema = "markdown"', "page_schema = markdown"),
    ],
)
def test_a_model_that_clients_would_notice_does_not_stand_in(
    tmp_path: Path, modality: str, one: str, other: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        linked(tmp_path, modality, one, other)

    [problem] = caught.value.problems
    assert problem.path == "model.a.fallback[0]"
    assert told in problem.message


@pytest.mark.parametrize(
    ("modality", "said"),
    [
        ("llm", ""),
        ("vlm", ""),
        ("asr", ""),
        ("rerank", ""),
        ("embedding", SPACE),
        ("tts", VOICES),
        ("ocr", 'page_schema = "lines"'),
    ],
)
def test_models_that_say_the_same_stand_in(tmp_path: Path, modality: str, said: str) -> None:
    assert [link.model for link in linked(tmp_path, modality, said, said).chains["a"]] == ["b"]


def test_facts_that_cannot_be_read_are_one_mistake_of_a_model_with_a_chain(config: Config) -> None:
    two = ENGINE.format('chat = "e", small = "s"') + ENGINE.replace('"b"', '"c"').replace(
        "x:1", "x:2"
    ).format('chat = "f"')
    text = file('["small"]', chat='context = "many"').replace(SERVED, two)

    [problem] = config.told(text)

    assert "model.chat.context: " in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (file('[{ model = "small", on = ["slow"] }]'), "model.chat.fallback[0].on[0]: Input"),
        (file("[5]"), "model.chat.fallback[0]: is a table"),
        (file("[]", more='[slo.g.words]\n[select]\nunmet = { g = "wait" }\n'), "unmet.g[0]: "),
    ],
)
def test_a_mistake_in_a_short_or_long_form_is_told_once(
    config: Config, text: str, said: str
) -> None:
    [problem] = config.told(text)

    assert said in problem
