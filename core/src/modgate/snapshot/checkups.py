"""Which questions are asked of which engine: its load, its health path, the exporter below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from modgate.api.dialect import Dialect
from modgate.api.select import Backend
from modgate.api.vitals import Exporter
from modgate.discover.reach import bracketed
from modgate.telemetry.families import FAMILIES
from modgate.telemetry.rounds import Probe, Question
from modgate.telemetry.signals import Rules

OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkups:
    """What one configuration says of them.  `probes`: health path by family; seconds, 0 = off."""

    scrape_s: float
    probe_s: float
    exporters: tuple[Exporter, ...]
    probes: Mapping[str, str]

    def questions(self, backends: Iterable[Backend]) -> Sequence[Question]:
        """All questions.  Engines of our own are watched by their supervisor."""
        found: list[Question] = []
        for backend in backends:
            if not backend.local and not backend.socket:
                found += self._load(backend)
                found += self._well(backend)
                found += self._signals(backend)
        return found

    def _load(self, backend: Backend) -> Iterator[Question]:
        family = FAMILIES.get(backend.metrics_family or backend.family)
        if family is None or backend.metrics == OFF or self.scrape_s <= 0:
            return
        at = backend.metrics or (f":{family.port}" if family.port else "") + family.path
        foreign = "://" in at
        yield Question(
            identity=backend.identity,
            name=backend.name,
            url=at if foreign else _near(backend.url, at),
            read=family,
            every_s=self.scrape_s,
            key=None if foreign else backend.key,
            ca=backend.ca,
        )

    def _well(self, backend: Backend) -> Iterator[Question]:
        path = self.probes.get(backend.family)
        if path and self.probe_s > 0:
            yield Question(
                identity=backend.identity,
                name=backend.name,
                url=_near(backend.url, path),
                read=Probe(),
                every_s=self.probe_s,
                key=backend.key,
                ca=backend.ca,
            )

    def _signals(self, backend: Backend) -> Iterator[Question]:
        """Of the first exporter that tells of it."""
        names = {backend.name, backend.name.partition("/")[0] if backend.uid else backend.name}
        for each in self.exporters:
            if each.engines is None or names & each.engines:
                host = bracketed(urlsplit(backend.url).hostname or "")
                yield Question(
                    identity=backend.identity,
                    name=backend.name,
                    url=each.url or f"http://{host}:{each.port}{each.path}",
                    read=Rules(
                        gpu_memory=each.gpu_memory,
                        interconnect=each.interconnect,
                        temperature=each.temperature,
                    ),
                    every_s=each.every_s,
                )
                return


def probes_of(dialects: Mapping[tuple[str, str], type[Dialect]]) -> dict[str, str]:
    """Each family's health path; of several dialects the first's."""
    found: dict[str, str] = {}
    for (_, family), kind in dialects.items():
        found.setdefault(family, kind.probe)
    return found


def _near(url: str, at: str) -> str:
    """A path below an engine's url, or `:PORT/PATH` of its machine."""
    if not at.startswith(":"):
        return url.rstrip("/") + at
    parts = urlsplit(url)
    return f"{parts.scheme}://{bracketed(parts.hostname or '')}{at}"
