"""Linking exporters: engines that exist, in the types that telemetry wants."""

from __future__ import annotations

from urllib.parse import urlsplit

from modgate.api.vitals import Exporter, Rule
from modgate.config.guess import did_you_mean
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File
from modgate.config.schema_telemetry import RuleText, SignalsSection


def linked_exporters(file: File, mistakes: Mistakes) -> tuple[Exporter, ...]:
    """The exporters of the file."""
    known = [*(each.name for each in file.backend), *(each.name for each in file.discover)]
    found = []
    for name, section in file.signals.items():
        for index, engine in enumerate(section.engines or ()):
            if engine not in known:
                text = f"no backend and no discoverer is called so{did_you_mean(engine, known)}"
                where = ("signals", name, "engines", index)
                mistakes.missing(where, f"'{engine}': {text}", "backend")
        found.append(
            Exporter(
                name=name,
                url=_page(section),
                port=section.port or 0,
                path=section.path,
                every_s=section.every,
                engines=None if section.engines is None else frozenset(section.engines),
                gpu_memory=_rule(section.gpu_memory),
                interconnect=_rule(section.interconnect),
                temperature=_rule(section.temperature),
            )
        )
    return tuple(found)


def _page(section: SignalsSection) -> str:
    """A url that has a path is the page itself, unless `path` says where below it."""
    url = (section.url or "").rstrip("/")
    whole = urlsplit(url).path and "path" not in section.model_fields_set
    return url if whole or not url else f"{url}{section.path}"


def _rule(text: RuleText | None) -> Rule | None:
    if text is None:
        return None
    return Rule(
        metric=text.metric,
        over=text.over,
        labels=tuple(sorted(text.labels.items())),
        scale=text.scale,
        take=text.take,
    )
