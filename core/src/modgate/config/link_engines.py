"""Linking engines: those of the file, and what those have in common that a discoverer finds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path as FilePath
from ssl import create_default_context
from typing import Protocol

from pydantic import BaseModel

from modgate.api.discover import ConfiguredDiscoverer, Wake
from modgate.api.model import Model
from modgate.api.select import Backend, base_url
from modgate.config.guess import did_you_mean
from modgate.config.lines import Path
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File
from modgate.config.schema_engines import DiscoverSection, EngineFields, WakeSection


class Brought(Protocol):
    """What plugins brought, as far as engines are concerned."""

    @property
    def families(self) -> Iterable[tuple[str, str]]:
        """Modality and family of every dialect."""
        ...

    @property
    def metered(self) -> Collection[str]:
        """Families of engines whose metrics can be read."""
        ...

    @property
    def discoverers(self) -> Mapping[str, type[BaseModel]]:
        """The type of their keys, by kind."""
        ...


class EnginesLinker:
    """Links `[[backend]]` and `[[discover]]`."""

    def __init__(
        self, file: File, brought: Brought, models: Mapping[str, Model], mistakes: Mistakes
    ) -> None:
        self._file = file
        self._brought = brought
        self._families = set(brought.families)
        self._kinds = brought.discoverers
        self._models = models
        self._mistakes = mistakes
        self._wrong, self._missing = mistakes.wrong, mistakes.missing

    def backends(self) -> tuple[Backend, ...]:
        """The engines that the file names."""
        found = []
        for index, section in enumerate(self._file.backend):
            path = ("backend", index)
            if reason := base_url(section.url):
                self._wrong((*path, "url"), reason)
            https = section.url.startswith("https://")
            found.append(self._engine(path, section, section.name, section.url, https))
        self._identities(found)
        return tuple(found)

    def discoverers(self) -> tuple[ConfiguredDiscoverer, ...]:
        """The discoverers that are put to work."""
        found: dict[str, ConfiguredDiscoverer] = {}
        for index, section in enumerate(self._file.discover):
            path = ("discover", index)
            if section.name in found:
                self._wrong((*path, "name"), f"'{section.name}' is used twice")
            config = self._config(path, section)
            https = getattr(config, "scheme", "https") == "https"
            template = self._engine(path, section, section.name, "", https)
            if config is not None:
                found[section.name] = ConfiguredDiscoverer(
                    name=section.name,
                    kind=section.kind,
                    config=config,
                    template=template,
                    wake=self._wake((*path, "wake"), section.wake),
                )
        return tuple(found.values())

    def _wake(self, path: Path, section: WakeSection | None) -> Wake | None:
        if section is None:
            return None
        ca = self._ca((*path, "ca"), section.ca, section.url.startswith("https://"))
        return Wake(url=section.url, key=section.key, ca=ca)

    def _config(self, path: Path, section: DiscoverSection) -> BaseModel | None:
        kind = self._kinds.get(section.kind)
        if kind is None:
            text = f"no discoverer '{section.kind}'{did_you_mean(section.kind, self._kinds)}"
            text += f"; known: {', '.join(sorted(self._kinds))}"
            self._missing((*path, "kind"), text, "plugin")
            return None
        said, also = section.model_extra or {}, DiscoverSection.model_fields
        return self._mistakes.keys(path, kind, said, also)

    def _engine(
        self, path: Path, section: EngineFields, name: str, url: str, https: bool
    ) -> Backend:
        if not section.serves:
            text = """names no model: write serves = { our-name = "engine's name" }"""
            self._wrong((*path, "serves"), text)
        for model in section.serves:
            self._serves((*path, "serves", model), model)
        self._family(path, section)
        if section.slots_at_most is not None and section.slots_at_most < section.slots:
            self._wrong((*path, "slots_at_most"), f"is less than `slots`, which is {section.slots}")
        return Backend(
            name=name,
            family=section.family,
            url=url,
            serves=section.serves,
            region=section.region,
            hardware=section.hardware,
            slots=section.slots,
            slots_at_most=section.slots_at_most or 0,
            offers={kind: frozenset(values) for kind, values in section.offers.items()},
            key=section.key,
            sign=section.sign,
            ca=self._ca((*path, "ca"), section.ca, https),
            metrics=section.metrics,
            metrics_family=section.metrics_family,
        )

    def _serves(self, path: Path, name: str) -> None:
        if name not in self._models:
            declared = self._file.model.get(name)
            text = f"no [model.{name}]{did_you_mean(name, self._models)}"
            if declared is not None and declared.modality in self._file.plugin:
                text = f"no enabled plugin brings its modality '{declared.modality}'"
            elif declared is not None:
                text = f"its modality is not enabled; add [plugin.{declared.modality}]"
            self._missing(path, text, "model", name)

    def _family(self, path: Path, section: EngineFields) -> None:
        models = [self._models[name] for name in section.serves if name in self._models]
        for modality in sorted({model.modality for model in models}):
            if (modality, section.family) not in self._families:
                spoken = sorted(f for m, f in self._families if m == modality)
                text = f"no dialect of {modality} for '{section.family}'; known: {spoken}"
                self._wrong((*path, "family"), text)
        metered = self._brought.metered
        if section.metrics_family and section.metrics_family not in metered:
            text = f"no metrics of '{section.metrics_family}' are known"
            guess = did_you_mean(section.metrics_family, metered)
            self._wrong((*path, "metrics_family"), f"{text}{guess}; known: {sorted(metered)}")

    def _ca(self, path: Path, file: FilePath | None, https: bool) -> str:
        if file is not None and not https:
            self._wrong(path, "is for an https url")
        return linked_ca(path, file, self._mistakes)

    def _identities(self, backends: list[Backend]) -> None:
        seen: dict[str, str] = {}
        names: set[str] = set()
        for index, backend in enumerate(backends):
            if backend.name in names:
                self._wrong(("backend", index, "name"), f"'{backend.name}' is used twice")
            names.add(backend.name)
            other = seen.setdefault(backend.identity, backend.name)
            if other != backend.name:
                text = f"is the same engine as '{other}'; name all models in one 'serves'"
                self._wrong(("backend", index, "url"), text)


def linked_ca(path: Path, file: FilePath | None, mistakes: Mistakes) -> str:
    """A file of certificates that somebody's is proven by; '' for those of the system."""
    if file is None:
        return ""
    try:
        create_default_context(cafile=file)
    except OSError as error:  # SSLError is one, too
        mistakes.wrong(path, f"{file} holds no certificates: {error.strerror or error}")
    return str(file)
