"""What plugins answer at start may have no end, lead nowhere or not be waited for: it is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat

import pytest
from made_plugins import Says, Words, plugin, unshaped
from pydantic import BaseModel

from modgate.host.installed import Installed
from modgate.host.load import Host, import_plugins, load
from modgate.http.surfaces import built_in
from modgate.plugin import Cursor, Dialect, Endpoint, LedgerSink, LocalEngine
from modgate.problems import PluginError


class Countless(Words):
    def endpoints(self) -> Iterable[Endpoint]:
        return repeat(Endpoint(path="/v1/words", shape=unshaped))


class Lost(Dialect):
    modality = "words"
    family = "lost"
    probe = "ready"


class Prompt(LedgerSink):
    name = "prompt"

    def open(self) -> list[Cursor]:  # type: ignore[override]  # it is the fault
        return []


class Probeless(Dialect):
    modality = "words"
    family = "probeless"
    probe = None  # type: ignore[assignment]  # it is the fault


OpenAI = type(built_in()["openai"])
Talkative = type("Talkative", (OpenAI,), {"name": "own", "keep_alive": b":" * 5000})
Lettered = type("Lettered", (OpenAI,), {"name": "own", "done": "data: [DONE]"})


def defaults(name: str, kind: type[BaseModel]) -> BaseModel:
    del name
    return kind()


@pytest.mark.parametrize(
    ("hooks", "told"),
    [
        ({"modgate_modalities": repeat(Words)}, "answered modgate_modalities with over 1000 class"),
        ({"modgate_modalities": [Countless]}, "has over 1000 endpoints of words"),
        ({"modgate_sinks": [Prompt]}, "Prompt: 'open' must be an 'async def'"),
        ({"modgate_surfaces": [Talkative]}, "'keep_alive' that is not bytes, 4096 at most"),
        ({"modgate_surfaces": [Lettered]}, "Lettered has a 'done' that is not bytes"),
        ({"modgate_dialects": [Lost]}, "Lost has the health path 'ready', which begins with no /"),
        ({"modgate_dialects": [Probeless]}, "Probeless has the health path 'None', which begins"),
    ],
)
def test_what_could_not_be_put_to_work_is_told(hooks: Mapping[str, object], told: str) -> None:
    modules = {"bad": plugin(**hooks)}
    host = Host(import_plugins(Installed(), list(modules), modules))

    with pytest.raises(PluginError, match=told):
        load(host, defaults, built_in())


@pytest.mark.parametrize(
    ("hook", "kind", "names"),
    [
        ("modgate_modalities", Words, {"name": ["words"]}),
        ("modgate_surfaces", OpenAI, {"name": ["own"]}),
        ("modgate_dialects", Lost, {"family": ["lost"], "probe": "/ready"}),
        ("modgate_local_engines", LocalEngine, {"modality": ["words"], "model": "w"}),
        ("modgate_policies", Says, {"name": ["says"]}),
    ],
)
def test_a_name_that_is_no_text_is_the_plugins_fault(
    hook: str, kind: type, names: Mapping[str, object]
) -> None:
    modules = {"bad": plugin(**{hook: [type("Made", (kind,), dict(names))]})}
    host = Host(import_plugins(Installed(), list(modules), modules))

    with pytest.raises(
        PluginError, match=r"^plugin 'bad \(bad 0\)' raised TypeError from Made: unh"
    ):
        load(host, defaults, built_in())
