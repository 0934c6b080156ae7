"""A small registry of counters, gauges and histograms, written out as Prometheus text 0.0.4.

Children are plain lists and are updated on the event loop only; rendering copies them first, so it
may run in a thread.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

log = logging.getLogger(__name__)

Labels = tuple[str, ...]
OTHER = "other"  # in place of a name that the configuration does not know
CODES_AT_MOST = 100


def _number(value: float) -> str:
    """Every digit: a counter that is written in six stands still once it is large."""
    if math.isfinite(value):
        return str(int(value)) if value == int(value) else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labelled(names: Sequence[str], values: Labels, more: str = "") -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    if more:
        pairs.append(more)
    return "{" + ",".join(pairs) + "}" if pairs else ""


@dataclass(slots=True)
class Counter:
    """A number that only grows, per label values."""

    name: str
    meaning: str
    labels: Labels = ()
    values: defaultdict[Labels, float] = field(default_factory=lambda: defaultdict(int))

    def add(self, labels: Labels = (), n: float = 1) -> None:
        """Count."""
        self.values[labels] += n

    def lines(self) -> Iterator[str]:
        """Prometheus text."""
        yield f"# HELP {self.name} {self.meaning}\n# TYPE {self.name} counter"
        for labels, value in list(self.values.items()):
            yield f"{self.name}{_labelled(self.labels, labels)} {_number(value)}"


@dataclass(slots=True)
class Gauge:
    """A number that is read when somebody looks; `read` answers label values -> number.

    `kind`: of its text; `counter` for one that only grows.  `on_loop`: what it reads changes by
    that, or meanwhile: then it is read on the event loop, and not in the thread of the text.
    """

    name: str
    meaning: str
    labels: Labels
    read: Callable[[], Mapping[Labels, float]]
    kind: Literal["gauge", "counter"] = "gauge"
    on_loop: bool = False

    def values(self) -> Mapping[Labels, float] | None:
        """What it reads now; None when it cannot be read, and the other metrics stay."""
        try:
            return self.read()
        except Exception:
            log.exception("metric unreadable", extra={"metric": self.name})
            return None

    def lines(self, values: Mapping[Labels, float] | None) -> Iterator[str]:
        """Prometheus text of what was read."""
        if values is None:
            return
        yield f"# HELP {self.name} {self.meaning}\n# TYPE {self.name} {self.kind}"
        for labels, value in values.items():
            yield f"{self.name}{_labelled(self.labels, labels)} {_number(value)}"


@dataclass(slots=True)
class Histogram:
    """How often a value fell under each bound, per label values."""

    name: str
    meaning: str
    labels: Labels
    bounds: tuple[float, ...]
    values: dict[Labels, list[float]] = field(default_factory=dict)

    def child(self, labels: Labels = ()) -> list[float]:
        """The counts of some label values: one for each bound, one above, and the sum."""
        child = self.values.get(labels)
        if child is None:
            child = self.values[labels] = [0.0] * (len(self.bounds) + 2)
        return child

    def add(self, labels: Labels, value: float) -> None:
        """Count a value."""
        child = self.values.get(labels) or self.child(labels)
        child[bisect_left(self.bounds, value)] += 1
        child[-1] += value

    def lines(self) -> Iterator[str]:
        """Prometheus text: cumulative buckets, sum and count."""
        yield f"# HELP {self.name} {self.meaning}\n# TYPE {self.name} histogram"
        for labels, child in list(self.values.items()):
            counts, total = child[:-1], 0.0
            for bound, count in zip((*self.bounds, None), counts, strict=True):
                total += count
                shown = "+Inf" if bound is None else f"{bound:g}"
                more = f'le="{shown}"'
                yield f"{self.name}_bucket{_labelled(self.labels, labels, more)} {_number(total)}"
            yield f"{self.name}_sum{_labelled(self.labels, labels)} {_number(child[-1])}"
            yield f"{self.name}_count{_labelled(self.labels, labels)} {_number(total)}"


Metric = Counter | Gauge | Histogram
Looked = Mapping[str, Mapping[Labels, float] | None]  # what gauges said, by name


class Codes:
    """Codes of errors as a label: engines may make up as many as they like, and few are told."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def label(self, code: str) -> str:
        """The code, or `other`; that of no error is empty."""
        if code and code not in self._told:
            if len(self._told) >= CODES_AT_MOST:
                return OTHER
            self._told.add(code)
        return code


class Registry:
    """All metrics of a gateway."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A new counter; without labels it is there, at 0, from the start."""
        made = Counter(name, meaning, labels)
        if not labels:
            made.add(n=0)
        self._metrics[name] = made
        return made

    def gauge(
        self,
        name: str,
        meaning: str,
        read: Callable[[], Mapping[Labels, float]],
        *labels: str,
        on_loop: bool = False,
    ) -> None:
        """A new gauge."""
        self._metrics[name] = Gauge(name, meaning, labels, read, on_loop=on_loop)

    def total(
        self, name: str, meaning: str, read: Callable[[], Mapping[Labels, float]], *labels: str
    ) -> None:
        """A counter that somebody else keeps."""
        self._metrics[name] = Gauge(name, meaning, labels, read, "counter")

    def histogram(
        self, name: str, meaning: str, bounds: tuple[float, ...], *labels: str
    ) -> Histogram:
        """A new histogram; without labels it is there, empty, from the start."""
        made = Histogram(name, meaning, labels, bounds)
        if not labels:
            made.child()
        self._metrics[name] = made
        return made

    def counted(self, label: str) -> set[str]:
        """The values of a label for which something was counted."""
        return {
            labels[metric.labels.index(label)]
            for metric in self._kept(label)
            for labels in metric.values
        }

    def forget(self, label: str, values: Collection[str]) -> None:
        """Drop the series of these values."""
        for metric in self._kept(label):
            at = metric.labels.index(label)
            for labels in [labels for labels in metric.values if labels[at] in values]:
                del metric.values[labels]

    def _kept(self, label: str) -> list[Counter | Histogram]:
        metrics = self._metrics.values()
        return [m for m in metrics if not isinstance(m, Gauge) and label in m.labels]

    def names(self) -> list[str]:
        """Every metric's name, sorted."""
        return sorted(self._metrics)

    def look(self) -> Looked:
        """What must be read on the event loop, before `render` may run in a thread."""
        metrics = self._metrics.items()
        return {n: m.values() for n, m in metrics if isinstance(m, Gauge) and m.on_loop}

    def render(self, looked: Looked | None = None) -> bytes:
        """Prometheus text of everything."""
        looked = self.look() if looked is None else looked
        lines = [line for name in self.names() for line in self._lines(name, looked)]
        return ("\n".join(lines) + "\n").encode()

    def _lines(self, name: str, looked: Looked) -> Iterator[str]:
        metric = self._metrics[name]
        if not isinstance(metric, Gauge):
            return metric.lines()
        return metric.lines(looked[name] if name in looked else metric.values())
