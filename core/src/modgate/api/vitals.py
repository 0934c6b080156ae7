"""How an engine says that it is: its load, its hardware, whether it is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Take = Literal["max", "min", "mean", "sum"]
FRESH, STALE = 2.0, 5.0  # in intervals


def weight_of(age_s: float, every_s: float) -> float:
    """How far a reading is believed that is made each `every_s`: 1 for two intervals, 0 from five.

    Source: algorithms.md 7 (staleness).
    """
    if every_s <= 0:
        return 0.0
    return min(1.0, max(0.0, (STALE - age_s / every_s) / (STALE - FRESH)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an engine has in hand, all who send to it together; None = it does not say.

    `running`, `waiting`: requests.  `kv_use`: share of its cache in use, 0 to 1.
    """

    running: float | None = None
    waiting: float | None = None
    kv_use: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What an exporter says of the hardware below an engine; None = it does not say.

    `gpu_memory`: share in use, 0 to 1.  `interconnect`: in the unit that the operator chose, bytes
    a second by custom.  `temperature`: degrees Celsius.
    """

    gpu_memory: float | None = None
    interconnect: float | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """All that is known of one engine now.

    A weight is 1 for what is fresh and falls to 0 with age; at 0 the value is None: unknown, which
    is not the same as nothing.  `well`: what its health path answered; None = nothing that counts.
    """

    load: Load | None = None
    load_weight: float = 0.0
    signals: Signals | None = None
    signals_weight: float = 0.0
    well: bool | None = None


UNKNOWN = Vitals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One signal out of an exporter's page.

    Each series of `metric` (a GPU's, say) is divided by the sum of those of `over` that have the
    same labels, if any are named, and multiplied with `scale`; `take` makes one number of them.
    `labels`: only series that have these.
    """

    metric: str
    over: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    scale: float = 1.0
    take: Take = "max"

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it reads."""
        return (self.metric, *self.over)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """An exporter of hardware metrics, and what is read of it.

    `url`: where it is; '' = at `port` of each engine's own machine.  `engines`: names of backends
    and discoverers that it tells of; None = all.
    """

    name: str
    url: str = ""
    port: int = 0
    path: str = "/metrics"
    every_s: float = 5.0
    engines: frozenset[str] | None = None
    gpu_memory: Rule | None = None
    interconnect: Rule | None = None
    temperature: Rule | None = None
