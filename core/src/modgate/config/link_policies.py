"""Linking `[policy.*]` sections: kinds that a plugin brings, their own keys, known models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from pydantic import BaseModel, ValidationError

from modgate.api.model import Model
from modgate.api.policy import AnyPolicy, Mandate
from modgate.config.decode import Source, did_you_mean, problems_of
from modgate.config.policy_section import PolicySection
from modgate.config.schema import File
from modgate.errors import Problem

Path = tuple[str | int, ...]


class Missing(Protocol):
    """Told of a name that is nowhere; `named`: what would have brought it."""

    def __call__(self, path: Path, message: str, *named: str) -> None:
        """Note the mistake."""
        ...


class PoliciesLinker:
    """Links the sections of a file, in its order."""

    def __init__(
        self,
        file: File,
        source: Source,
        kinds: Mapping[str, type[AnyPolicy]],
        models: Mapping[str, Model],
        missing: Missing,
    ) -> None:
        self._file = file
        self._source = source
        self._kinds = kinds
        self._models = models
        self._missing = missing
        self.problems: list[Problem] = []

    def link(self) -> Iterator[Mandate]:
        """What is right of them; mistakes are in `problems`, or told to `missing`."""
        for name, section in self._file.policy.items():
            path = ("policy", name)
            word = section.kind or name
            kind = self._kinds.get(word)
            if kind is None:
                known = ", ".join(sorted(self._kinds)) or "none"
                text = f"no enabled plugin brings the policy '{word}'"
                text += f"{did_you_mean(word, self._kinds)}; known: {known}"
                self._missing((*path, "kind") if section.kind else path, text, "plugin")
            elif (config := self._config(path, section, kind)) is not None:
                yield Mandate(
                    name=name,
                    kind=word,
                    config=config,
                    models=self._seen(path, section, kind),
                    tenants=None if section.tenants is None else frozenset(section.tenants),
                    budget_s=kind.budget_s if section.budget is None else section.budget,
                    on_failure=section.on_failure or kind.on_failure,
                    shadow=section.shadow,
                )

    def _config(
        self, path: Path, section: PolicySection, kind: type[AnyPolicy]
    ) -> BaseModel | None:
        try:
            return kind.config_type.model_validate(section.model_extra or {})
        except ValidationError as error:
            wrong, also = self._source.problem, PolicySection.model_fields
            self.problems += problems_of(error, wrong, kind.config_type, path, also)
            return None

    def _seen(self, path: Path, section: PolicySection, kind: type[AnyPolicy]) -> frozenset[str]:
        fitting = {
            name
            for name, model in self._models.items()
            if not kind.modalities or model.modality in kind.modalities
        }
        if section.models is None:
            return frozenset(fitting)
        for index, name in enumerate(section.models):
            where = (*path, "models", index)
            if name not in self._models:
                text = f"no [model.{name}]{did_you_mean(name, self._models)}"
                self._missing(where, text, "model", name)
            elif name not in fitting:
                known = ", ".join(sorted(kind.modalities))
                text = f"the policy '{kind.name}' is for models of {known}"
                self.problems.append(self._source.problem(where, text))
        return frozenset(section.models)
