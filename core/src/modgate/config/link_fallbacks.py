"""Linking what happens where nobody will keep a promise, and which models stand in for which.

No model stands in for one that clients could tell from it by what they keep: its modality names the
facts (`Modality.stand_in`), and both say them.  The same holds for the engines of one model: where
they have different names for it, only its facts say that they serve the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from modgate.api.discover import ConfiguredDiscoverer
from modgate.api.modality import AnyModality
from modgate.api.model import Model, unlike, unsaid
from modgate.api.select import Fallback
from modgate.config.guess import did_you_mean
from modgate.config.lines import Path
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File
from modgate.config.schema_select import FallbackSection, Step

AT_MOST = 4  # of a chain: each costs a client who waits the failure of the one before


class FallbacksLinker:
    """Links chains of models, and the steps of classes."""

    def __init__(
        self,
        file: File,
        modalities: Mapping[str, AnyModality],
        models: Mapping[str, Model],
        mistakes: Mistakes,
    ) -> None:
        self._file = file
        self._modalities = modalities
        self._models = models
        self._wrong, self._missing = mistakes.wrong, mistakes.missing

    def chains(self) -> dict[str, tuple[Fallback, ...]]:
        """The chain of each model that has one."""
        found = {}
        for name, section in self._file.model.items():
            if section.fallback and name in self._models:
                found[name] = tuple(self._chain(name, section.fallback))
        return found

    def _chain(self, name: str, links: Sequence[FallbackSection]) -> list[Fallback]:
        path: Path = ("model", name, "fallback")
        if len(links) > AT_MOST:
            self._wrong(path, f"has {len(links)} models; at most {AT_MOST} are asked")
        found: list[Fallback] = []
        for index, link in enumerate(links):
            if self._fits((*path, index), name, link, [one.model for one in found]):
                found.append(Fallback(model=link.model, on=frozenset(link.on)))
        return found

    def _fits(self, path: Path, name: str, link: FallbackSection, before: Sequence[str]) -> bool:
        other = self._models.get(link.model)
        if other is None:
            text = f"no [model.{link.model}]{did_you_mean(link.model, self._models)}"
            self._missing(path, text, "model", link.model)
            return False
        asked, reason = self._models[name], ""
        if self._read(asked) and self._read(other):
            reason = unlike(self._modalities[asked.modality], asked, other)
        if link.model == name:
            reason = "a model does not stand in for itself"
        elif link.model in before:
            reason = f"'{link.model}' is there twice"
        if reason:
            self._wrong(path, reason)
        return not reason

    def _read(self, model: Model) -> bool:
        """Whether its facts are of its modality: else they are a mistake, which is told already."""
        return isinstance(model.facts, self._modalities[model.modality].model_type)

    def engines(self) -> None:
        """Engines with different names for a model are of one kind only if its facts say which."""
        called: dict[str, dict[str, Path]] = {}
        for path, section in self._file.engines:
            for model, name in section.serves.items():
                called.setdefault(model, {}).setdefault(name, (*path, "serves", model))
        for model, names in called.items():
            if len(names) > 1 and model in self._models:
                self._alike(self._models[model], names)

    def bound(
        self, discoverers: Iterable[ConfiguredDiscoverer]
    ) -> tuple[ConfiguredDiscoverer, ...]:
        """The same holds for engines that are found, of which no file says the names."""
        return tuple(
            replace(each, named=frozenset(filter(self._unknown, each.template.serves)))
            for each in discoverers
        )

    def _unknown(self, name: str) -> bool:
        model = self._models.get(name)
        if model is None or not self._read(model):
            return False
        rule = self._modalities[model.modality].stand_in
        return rule is not None and bool(unsaid(rule, model))

    def _alike(self, model: Model, names: Mapping[str, Path]) -> None:
        rule = self._modalities[model.modality].stand_in
        if rule is None or not self._unknown(model.name):
            return
        facts = " and ".join(f"`{fact}`" for fact in rule.said)
        first, *others = names
        for other in others:
            text = f"'{other}' and another engine's '{first}' may not be the same: say {facts} in "
            self._wrong(names[other], f"{text}[model.{model.name}], which then hold for both")

    def unmet(self) -> dict[str, tuple[Step, ...]]:
        """By class, what is done in turn."""
        found: dict[str, tuple[Step, ...]] = {}
        for slo, steps in self._file.select.unmet.items():
            path: Path = ("select", "unmet", slo)
            if reason := _order(steps):
                self._wrong(path, reason)
            else:
                found[slo] = steps
        return found


def _order(steps: Sequence[Step]) -> str:
    """What is wrong with steps that are done in turn; '' when nothing is."""
    if not steps:
        return "says nothing: leave it out, or say what happens"
    if len(set(steps)) < len(steps):
        return "says a step twice"
    if steps[-1] == "fallback":
        return "ends with fallback: say what happens where there is none, as queue or refuse"
    for at, step in enumerate(steps[:-1]):
        after = steps[at + 1 :]
        if step == "refuse" or (step == "queue" and after != ("refuse",)):
            return f"says {after[0]} after {step}, behind which there is nothing"
    return ""
