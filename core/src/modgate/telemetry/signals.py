"""What an exporter of hardware says, by the operator's own mapping: any vendor's will do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from modgate.api.vitals import Rule, Signals, Take
from modgate.telemetry.exposition import Sample, samples

# What cannot be: exporters write huge numbers for "not known" (DCGM's blanks are near 2^63).
MEMORY, INTERCONNECT, TEMPERATURE = (0.0, 1.0), (0.0, 1e15), (-100.0, 300.0)
_Series = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The signals of one exporter."""

    gpu_memory: Rule | None = None
    interconnect: Rule | None = None
    temperature: Rule | None = None

    def signals(self, text: bytes) -> Signals:
        """What a page says; BadText when it cannot be believed."""
        rules = (self.gpu_memory, self.interconnect, self.temperature)
        found = samples(text, {name for rule in rules if rule is not None for name in rule.names})
        return Signals(
            gpu_memory=_read(self.gpu_memory, found, MEMORY),
            interconnect=_read(self.interconnect, found, INTERCONNECT),
            temperature=_read(self.temperature, found, TEMPERATURE),
        )


def _read(rule: Rule | None, found: Iterable[Sample], bounds: tuple[float, float]) -> float | None:
    """A signal; None when it is not there, or cannot be."""
    if rule is None:
        return None
    mine: dict[_Series, float] = {}
    whole: dict[_Series, float] = {}
    for each in found:
        if not all(each.labels.get(key) == value for key, value in rule.labels):
            continue
        series = tuple(sorted(each.labels.items()))
        if each.name == rule.metric:
            mine[series] = each.value
        if each.name in rule.over:
            whole[series] = whole.get(series, 0.0) + each.value
    values = [_scaled(rule, value, whole.get(series, 0.0)) for series, value in mine.items()]
    likely = [each for each in values if each is not None and bounds[0] <= each <= bounds[1]]
    return _taken(likely, rule.take) if likely else None


def _scaled(rule: Rule, value: float, whole: float) -> float | None:
    if not rule.over:
        return value * rule.scale
    return value / whole * rule.scale if whole > 0 else None


def _taken(values: Sequence[float], take: Take) -> float:
    if take == "mean":
        return fmean(values)
    if take == "sum":
        return sum(values)
    return max(values) if take == "max" else min(values)
