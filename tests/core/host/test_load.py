"""A plugin's life up to serving; whatever goes wrong names the plugin."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
from made_plugins import Asks, Says, Sounds, Words, WordsConfig, installed, plugin, unshaped
from pydantic import BaseModel
from toys import advice

from modgate.host.installed import Installed, Origin, find
from modgate.host.load import Host, Loaded, import_plugins, load
from modgate.http.surfaces import built_in
from modgate.plugin import (
    Dialect,
    Endpoint,
    GatewayError,
    JsonObject,
    LocalEngine,
    Modality,
    Report,
    Scorer,
    Surface,
)
from modgate.problems import PluginError


def defaults(name: str, kind: type[BaseModel]) -> BaseModel:
    """Every section is empty."""
    del name
    return kind()


def loaded(modules: Mapping[str, ModuleType]) -> Loaded:
    host = Host(import_plugins(Installed(), list(modules), modules))
    return load(host, defaults, built_in())


class Engine(LocalEngine):
    """A local engine that is never run."""

    modality = "words"
    model = "tiny"

    def missing(self) -> list[str]:
        return []

    def load(self, report: Report) -> None:
        del report

    def serve(self, path: str) -> None:
        del path


class Spoken(Dialect):
    modality = "words"
    family = "vllm"


class Klingon(Surface):
    name = "klingon"

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        return {"Qagh": error.code}


class Translated(Words):
    name = "translated"

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=unshaped, surfaces=("klingon", "openai"))


def made(kind: type, **members: object) -> type:
    return type(kind.__name__, (kind,), members)


class Broken(Words):
    def __init__(self, config: WordsConfig) -> None:
        raise KeyError("lost")


class Nameless(Modality[WordsConfig]):
    units = ()
    weights = {}
    config_type = WordsConfig

    def endpoints(self) -> Iterable[Endpoint]:
        return ()


class Unset(Words):
    config_type = None


class Selfish(Words):
    def __init__(self, config: WordsConfig) -> None:
        self.own = config


class Pathless(Words):
    def endpoints(self) -> Iterable[Endpoint]:
        return ["/v1/words"]


class Deaf(Klingon):
    name = "deaf"

    def __init__(self) -> None:
        raise RuntimeError("boom")


class Silent(Surface):
    name = "silent"


class Family(Dialect):  # it forgot to say of which
    modality = "words"


class Stray(LocalEngine):
    """An engine that does not say of which modality."""


def test_everything_that_a_plugin_brings_is_known_with_its_owner() -> None:
    made = plugin(
        modgate_modalities=[Words],
        modgate_dialects=[Spoken],
        modgate_local_engines=[Engine],
        modgate_surfaces=[Klingon],
    )

    found = loaded({"words": made})

    assert [origin.name for origin in found.plugins] == ["words"]
    assert found.owners["words"].name == "words"
    assert isinstance(found.modalities["words"], Words)
    assert found.dialects["words", "vllm"] is Spoken
    assert found.engines == {"words": [Engine]}
    assert isinstance(found.surfaces["klingon"], Klingon)
    assert [(name, each.path) for name, each in found.endpoints] == [("words", "/v1/words")]


def test_every_modality_speaks_its_home_wire() -> None:
    found = loaded({"words": plugin(modgate_modalities=[Words])})

    assert issubclass(found.dialects["words", "home"], Dialect)


def test_a_distribution_may_bring_the_home_dialect_of_its_modality() -> None:
    home = made(Family, family="home")
    words, wire = plugin(modgate_modalities=[Words]), plugin(modgate_dialects=[home])
    one, two = (Origin(name=n, distribution="acme", version="1") for n in ("words", "wire"))

    found = load(Host([(one, words), (two, wire)]), defaults, built_in())

    assert found.dialects["words", "home"] is home


@pytest.mark.parametrize("kind", [Family, made(Family, family="")])
def test_nobody_else_takes_the_home_wire_of_a_modality(kind: type) -> None:
    words, other = plugin(modgate_modalities=[Words]), plugin(modgate_dialects=[kind])

    with pytest.raises(PluginError, match=r"'other \(other 0\)' Family needs a 'family'"):
        loaded({"words": words, "other": other})


def test_the_operators_order_decides_who_is_asked_first() -> None:
    modules = {
        "words": plugin(modgate_modalities=[Words]),
        "sounds": plugin(modgate_modalities=[Sounds]),
    }

    there = loaded(modules)
    back = loaded(dict(reversed(modules.items())))

    assert list(there.modalities) == ["words", "sounds"]
    assert list(back.modalities) == ["sounds", "words"]


def test_a_plugin_that_is_not_enabled_is_not_imported() -> None:
    before = set(sys.modules)

    modules = import_plugins(find(), [])

    assert modules == []
    assert not {name for name in set(sys.modules) - before if name.startswith("modgate_")}


def test_two_modalities_may_share_a_path_and_a_surface_may_come_from_elsewhere() -> None:
    found = loaded(
        {
            "words": plugin(modgate_modalities=[Words]),
            "translated": plugin(modgate_modalities=[Translated]),
            "klingon": plugin(modgate_surfaces=[Klingon]),
        }
    )

    assert [name for name, each in found.endpoints if each.path == "/v1/words"] == [
        "words",
        "translated",
    ]


def test_a_plugin_that_cannot_be_imported_is_named_with_distribution_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "bad", "1.0.0", "import nosuch\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(PluginError) as caught:
        import_plugins(find(), ["bad"])

    assert str(caught.value) == (
        "plugin 'bad (acme-bad 1.0.0)' raised ModuleNotFoundError from the import of acme_bad: "
        "No module named 'nosuch'"
    )


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"modgate_modalities": ValueError("oh")}, "raised ValueError from modgate_modalities: oh"),
        ({"modgate_modalities": None}, "modgate_modalities with None; a list of classes is wanted"),
        ({"modgate_modalities": Words}, "Words'>; a list of classes is wanted"),
        ({"modgate_modalities": [3]}, "modgate_modalities with 3; a list of classes is wanted"),
        ({"modgate_modalities": [Klingon]}, "Klingon is not a Modality"),
        ({"modgate_modalities": [Broken]}, "raised KeyError: 'lost'"),
        ({"modgate_modalities": [Selfish]}, "'__init__' must call super().__init__(config)"),
        ({"modgate_modalities": [Words, Words]}, "brings the modality 'words', which exists"),
        ({"modgate_modalities": [Nameless]}, "Nameless declares no 'name'"),
        ({"modgate_modalities": [Unset]}, "Unset declares no 'config_type'"),
        ({"modgate_modalities": [Pathless]}, "has endpoints of words that are no Endpoint"),
        ({"modgate_surfaces": [Words]}, "Words is not a Surface with a name"),
        ({"modgate_surfaces": [Surface]}, "Surface is not a Surface with a name"),
        ({"modgate_surfaces": [Deaf]}, "raised RuntimeError: boom"),
        ({"modgate_surfaces": [Silent]}, "Silent has no 'error_body'"),
        ({"modgate_dialects": [Dialect]}, "Dialect is not a Dialect with a modality"),
        (
            {"modgate_dialects": [Spoken, Spoken]},
            "of words: the first is of bad (bad 0)",
        ),
        ({"modgate_local_engines": [Words]}, "Words is not a LocalEngine"),
        ({"modgate_local_engines": [Engine]}, "engine of words in an unknown family 'home'"),
        ({"modgate_local_engines": [Stray]}, "Stray declares no 'modality'"),
        ({"modgate_modalties": []}, "does not fit the API: unknown hook 'modgate_modalties'"),
    ],
)
def test_what_goes_wrong_in_a_plugin_is_told_with_its_name(
    hooks: Mapping[str, object], said: str
) -> None:
    with pytest.raises(PluginError) as caught:
        loaded({"bad": plugin(**hooks)})

    assert str(caught.value).startswith("plugin 'bad (bad 0)' ")
    assert said in str(caught.value)


def test_a_second_plugin_may_not_bring_the_surface_of_core() -> None:
    class Own(Klingon):
        name = "openai"

    with pytest.raises(PluginError, match="brings the surface 'openai', which exists already"):
        loaded({"own": plugin(modgate_surfaces=[Own])})


def test_a_section_goes_to_the_plugin_that_it_belongs_to() -> None:
    asked: list[tuple[str, type[BaseModel]]] = []

    def validate(name: str, kind: type[BaseModel]) -> BaseModel:
        asked.append((name, kind))
        return kind.model_validate({"most": 3})

    host = Host(import_plugins(Installed(), ["p"], {"p": plugin(modgate_modalities=[Words])}))

    found = load(host, validate, built_in())

    assert asked == [("p", WordsConfig)]
    assert found.modalities["words"].config.most == 3


def test_the_seven_plugins_load_together() -> None:
    names = ["llm", "vlm", "asr", "tts", "ocr", "embedding", "rerank"]

    found = load(Host(import_plugins(find(), names)), defaults, built_in())

    assert set(found.modalities) <= set(names)
    assert all((name, "home") in found.dialects for name in found.modalities)


def test_policies_come_with_whose_they_are() -> None:
    found = loaded({"house": plugin(modgate_policies=[Says, Asks])}).policies

    assert [(name, origin.name, kind) for name, (origin, kind) in found.items()] == [
        ("says", "house", Says),
        ("asks", "house", Asks),
    ]


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (
            [Says, Says],
            "the policy 'says', which exists already: it is of house (house 0)",
        ),
        ([Words], "'house (house 0)' Words is not a PlanPolicy"),
        ([made(Says, budget_s=0)], "Says: 'budget_s' must be above 0"),
        ([made(Says, budget_s="1s")], "'house (house 0)' raised TypeError from Says"),
        ([made(Says, on_failure="maybe")], "Says: 'on_failure' is one of closed, open"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(kinds: list[type], told: str) -> None:
    with pytest.raises(PluginError, match=re.escape(told)):
        loaded({"house": plugin(modgate_policies=kinds)})


def test_filters_and_scorers_come_with_whose_they_are() -> None:
    found = loaded({"advice": advice}).scorers

    assert list(found) == ["cool", "kept-apart", "says"]
    assert {str(origin) for origin, _ in found.values()} == {"advice (advice 0)"}


class Weighty(BaseModel, frozen=True, extra="forbid"):
    """A key that every scorer's section has."""

    weight: float = 2.0


class Mute(Scorer[advice.Warmth]):
    """Says nothing."""

    name = "mute"
    config_type = advice.Warmth


class Heavy(advice.Cool):
    """One whose key nobody can set."""

    name = "heavy"
    config_type: ClassVar[type[BaseModel]] = Weighty


class Hasty(advice.Cool):
    """One that would always be late."""

    name = "hasty"
    budget_s = 0.0


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ([Words], "'house (house 0)' Words is neither a Filter nor a Scorer"),
        ([advice.Cool, advice.Cool], "brings the scorer 'cool', which exists already"),
        ([Mute], "Mute has no 'scores'"),
        ([Heavy], "Heavy: every scorer's section has 'weight'; call yours otherwise"),
        ([Hasty], "Hasty: 'budget_s' must be above 0"),
    ],
)
def test_what_is_no_scorer_or_has_a_taken_name_is_refused(kinds: list[type], told: str) -> None:
    with pytest.raises(PluginError, match=re.escape(told)):
        loaded({"house": plugin(modgate_scorers=kinds)})


@pytest.mark.parametrize("module", [ModuleType("unmarked"), plugin(modgate_dialects=[])])
def test_a_function_that_lacks_the_mark_is_told(module: ModuleType) -> None:
    vars(module)["modgate_modalities"] = lambda: [Words]

    with pytest.raises(PluginError, match=r"'words \(words 0\)' has a modgate_modalities without"):
        loaded({"words": module})


def test_a_module_without_a_hook_is_told_which_there_are() -> None:
    with pytest.raises(PluginError, match=r"answers no hook; known: modgate_modalities, .*sinks"):
        loaded({"words": ModuleType("empty")})


def test_a_plugin_that_ends_the_process_at_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "quits", "1.0.0", "raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(PluginError, match=r"'quits \(acme-quits 1\.0\.0\)' raised SystemExit from"):
        import_plugins(find(), ["quits"])


def test_a_config_type_that_is_no_model_is_refused() -> None:
    odd = type("Odd", (Words,), {"config_type": dict})

    with pytest.raises(PluginError, match="'config_type' is no pydantic model"):
        loaded({"words": plugin(modgate_modalities=[odd])})
