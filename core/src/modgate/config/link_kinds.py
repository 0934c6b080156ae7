"""Sections of what plugins bring by kind: the kind, its own keys, and the models it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel

from modgate.api.model import Model
from modgate.api.policy import AnyPolicy, ConfiguredPolicy
from modgate.api.scorer import AnyAdviser, ConfiguredAdviser
from modgate.config.guess import did_you_mean
from modgate.config.lines import Path
from modgate.config.mistakes import Mistakes
from modgate.config.schema_kinds import KindSection, PolicySection, ScorerSection, SeeingSection


class Kind(Protocol):
    """A plugin's class of which a section makes an instance."""

    name: ClassVar[str]
    config_type: ClassVar[type[BaseModel]]


class SeeingKind(Kind, Protocol):
    """One whose instances see the requests of models; of these modalities, empty = all."""

    modalities: ClassVar[frozenset[str]]


KindT = TypeVar("KindT", bound=Kind)
SectionT = TypeVar("SectionT", bound=KindSection)
SeeingT = TypeVar("SeeingT", bound=SeeingKind)
SeeingSectionT = TypeVar("SeeingSectionT", bound=SeeingSection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put(Generic[SectionT, KindT]):
    """A kind as a section puts it to work; `config`: the kind's own keys."""

    path: Path
    name: str
    section: SectionT
    kind: type[KindT]
    config: BaseModel


class KindsLinker:
    """Links the sections of a table, whose names follow `front`; `what` their kinds are called."""

    def __init__(self, what: str, front: Path, mistakes: Mistakes) -> None:
        self._what = what
        self._front = front
        self._mistakes = mistakes

    def put(
        self, sections: Mapping[str, SectionT], kinds: Mapping[str, type[KindT]]
    ) -> Iterator[Put[SectionT, KindT]]:
        """What is right of them, in the file's order."""
        for name, section in sections.items():
            path = (*self._front, name)
            kind = self._kind(path, section.kind or name, kinds, named=bool(section.kind))
            config = None if kind is None else self._config(path, section, kind)
            if kind is not None and config is not None:
                yield Put(path=path, name=name, section=section, kind=kind, config=config)

    def _kind(
        self, path: Path, word: str, kinds: Mapping[str, type[KindT]], *, named: bool
    ) -> type[KindT] | None:
        kind = kinds.get(word)
        if kind is None:
            known = ", ".join(sorted(kinds)) or "none"
            text = f"no enabled plugin brings the {self._what} '{word}'"
            text += f"{did_you_mean(word, kinds)}; known: {known}"
            self._mistakes.missing((*path, "kind") if named else path, text, "plugin")
        return kind

    def _config(self, path: Path, section: KindSection, kind: type[Kind]) -> BaseModel | None:
        said, also = section.model_extra or {}, type(section).model_fields
        return self._mistakes.keys(path, kind.config_type, said, also)

    def seen(
        self, put: Put[SeeingSectionT, SeeingT], models: Mapping[str, Model]
    ) -> frozenset[str]:
        """The models whose requests it sees: those that are named, or all that it understands."""
        names, modalities = put.section.models, put.kind.modalities
        fitting = {
            name for name, model in models.items() if not modalities or model.modality in modalities
        }
        if names is None:
            return frozenset(fitting)
        for index, name in enumerate(names):
            where = (*put.path, "models", index)
            if name not in models:
                text = f"no [model.{name}]{did_you_mean(name, models)}"
                self._mistakes.missing(where, text, "model", name)
            elif name not in fitting:
                known = ", ".join(sorted(modalities))
                text = f"the {self._what} '{put.kind.name}' is for models of {known}"
                self._mistakes.wrong(where, text)
        return frozenset(names)


def linked_policies(
    sections: Mapping[str, PolicySection],
    kinds: Mapping[str, type[AnyPolicy]],
    models: Mapping[str, Model],
    linker: KindsLinker,
) -> Iterator[ConfiguredPolicy]:
    """What is right of them, in the file's order."""
    for put in linker.put(sections, kinds):
        section, kind = put.section, put.kind
        yield ConfiguredPolicy(
            name=put.name,
            kind=kind.name,
            config=put.config,
            models=linker.seen(put, models),
            tenants=None if section.tenants is None else frozenset(section.tenants),
            budget_s=kind.budget_s if section.budget is None else section.budget,
            on_failure=section.on_failure or kind.on_failure,
            shadow=section.shadow,
        )


def linked_scorers(
    sections: Mapping[str, ScorerSection],
    kinds: Mapping[str, type[AnyAdviser]],
    models: Mapping[str, Model],
    linker: KindsLinker,
) -> Iterator[ConfiguredAdviser]:
    """What is right of them, in the file's order."""
    for put in linker.put(sections, kinds):
        yield ConfiguredAdviser(
            name=put.name,
            kind=put.kind.name,
            config=put.config,
            models=linker.seen(put, models),
            budget_s=put.kind.budget_s if put.section.budget is None else put.section.budget,
            weight=put.section.weight,
        )
