"""Small plugins made on the spot, for tests of what loads, checks and configures plugins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import (
    Caller,
    Decision,
    Endpoint,
    Modality,
    ModelFacts,
    ModelName,
    Plan,
    PlanPolicy,
    Request,
    Target,
    Unit,
    hookimpl,
)

WORDS = "words"


class WordsConfig(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.words]` section."""

    most: int = Field(10, ge=1)
    guard: ModelName[WORDS] | None = None
    guards: tuple[ModelName[WORDS], ...] = ()


class WordsFacts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a words model."""

    context: int | None = None


class Words(Modality[WordsConfig]):
    """Counts tokens."""

    name = "words"
    units = (Unit("input_tokens", "read"), Unit("output_tokens", "written", learned=True))
    weights = {"input_tokens": 1.0}
    deadlines = {"first_byte": Target(base_s=60.0), "total": Target(base_s=600.0)}
    config_type = WordsConfig
    model_type = WordsFacts

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=unshaped)


class SoundsConfig(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.sounds]` section: nothing to set."""


class Sounds(Modality[SoundsConfig]):
    """Counts milliseconds that are shown as seconds."""

    name = "sounds"
    units = (
        Unit("audio_ms", "heard", shown="audio_seconds", scale=1000),
        Unit("output_tokens", "written"),
    )
    weights = {}
    config_type = SoundsConfig

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/sounds", shape=unshaped, body="form")


class Said(BaseModel, frozen=True, extra="forbid"):
    """A `[policy.*]` section of the kind `says`."""

    says: Literal["allow", "deny"] = "allow"


class Says(PlanPolicy[Said]):
    """Decides what its section says, of every modality."""

    name = "says"
    config_type = Said

    def decide(self, caller: Caller, request: Request, plan: Plan) -> Decision:
        raise AssertionError("nothing is decided in these tests")


class Asked(BaseModel, frozen=True, extra="forbid"):
    """A section of the kind `asks`."""

    model: ModelName[WORDS]


class Asks(Says):
    """Understands words only."""

    name = "asks"
    config_type = Asked
    modalities = frozenset({WORDS})


def unshaped(request: Request) -> object:
    """No request comes here."""
    raise AssertionError("nothing is shaped in these tests")


def plugin(**hooks: object) -> ModuleType:
    """A module that answers hooks: `plugin(modgate_modalities=[Words])`.

    An exception is raised in place of an answer.
    """
    module = ModuleType("made")
    for hook, answer in hooks.items():
        setattr(module, hook, hookimpl(_answering(hook, answer)))
    return module


def _answering(hook: str, answer: object) -> object:
    def asked() -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    asked.__name__ = hook
    return asked


def installed(folder: Path, name: str, version: str, code: str) -> None:
    """A distribution `acme-NAME` of one module and one plugin, in a folder of sys.path."""
    module = f"acme_{name}"
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: {version}\n"
    (info / "METADATA").write_text(head)
    (info / "entry_points.txt").write_text(f"[modgate.v1]\n{name} = {module}\n")
    (folder / f"{module}.py").write_text(code)
