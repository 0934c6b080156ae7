"""Sections of what plugins bring by kind: the kind, its own keys, and the models it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from modgate.api.model import Model
from modgate.config.decode import Source, did_you_mean, problems_of
from modgate.errors import Problem

Path = tuple[str | int, ...]


class Kind(Protocol):
    """A plugin's class of which a section makes an instance."""

    name: ClassVar[str]
    config_type: ClassVar[type[BaseModel]]
    modalities: ClassVar[frozenset[str]]


class Missing(Protocol):
    """Told of a name that is nowhere; `named`: what would have brought it."""

    def __call__(self, path: Path, message: str, *named: str) -> None:
        """Note the mistake."""
        ...


KindT = TypeVar("KindT", bound=Kind)


class KindsLinker:
    """Links sections of one table: `what` their kinds are called in a message."""

    def __init__(
        self, what: str, source: Source, models: Mapping[str, Model], missing: Missing
    ) -> None:
        self._what = what
        self._source = source
        self._models = models
        self._missing = missing
        self.problems: list[Problem] = []

    def kind(
        self, path: Path, name: str, named: str, kinds: Mapping[str, type[KindT]]
    ) -> type[KindT] | None:
        """Which one the section `name` means, `named` in it or called so; None = none is."""
        word = named or name
        kind = kinds.get(word)
        if kind is None:
            known = ", ".join(sorted(kinds)) or "none"
            text = f"no enabled plugin brings the {self._what} '{word}'"
            text += f"{did_you_mean(word, kinds)}; known: {known}"
            self._missing((*path, "kind") if named else path, text, "plugin")
        return kind

    def config(self, path: Path, section: BaseModel, kind: type[Kind]) -> BaseModel | None:
        """A section's own keys; None = they are wrong."""
        try:
            return kind.config_type.model_validate(section.model_extra or {})
        except ValidationError as error:
            also = type(section).model_fields
            self.problems += problems_of(error, self._source.problem, kind.config_type, path, also)
            return None

    def seen(self, path: Path, names: tuple[str, ...] | None, kind: type[Kind]) -> frozenset[str]:
        """The models whose requests it sees: those that are named, or all that it understands."""
        fitting = {
            name
            for name, model in self._models.items()
            if not kind.modalities or model.modality in kind.modalities
        }
        if names is None:
            return frozenset(fitting)
        for index, name in enumerate(names):
            where = (*path, "models", index)
            if name not in self._models:
                text = f"no [model.{name}]{did_you_mean(name, self._models)}"
                self._missing(where, text, "model", name)
            elif name not in fitting:
                known = ", ".join(sorted(kind.modalities))
                text = f"the {self._what} '{kind.name}' is for models of {known}"
                self.problems.append(self._source.problem(where, text))
        return frozenset(names)
