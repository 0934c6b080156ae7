"""How an engine stands for one model: what it has in hand, how fast it is, what it keeps.

Kept by the engine's identity and its own name of the model; nothing here outgrows a few kilobytes
times phases and SLO classes, which the configuration bounds.
"""

from __future__ import annotations

from modgate.fleet.estimate import Estimate
from modgate.fleet.kept import Kept
from modgate.fleet.quantiles import Quantiles
from modgate.fleet.stir import Stir

SHARE = 0.1


class Standing:
    """One engine's for one model.

    `work`: in hand, of this gateway, `elsewhere`: of others as they told last, with what they will
    have added since, `usual`: of one call lately; in the modality's weighted units.  `sent`: all
    that went there from here while others were heard of.
    `between_s`: seconds between events of a stream.  `paces`: by phase.  `kept`: by SLO class;
    `out`: classes that it is disqualified for.  `times`: by phase, for people.  `stir`: its
    engine's.
    """

    __slots__ = (
        *("between_s", "elsewhere", "kept", "out", "paces", "sent", "stir", "times", "usual"),
        "work",
    )

    def __init__(self) -> None:
        self.work = 0.0
        self.elsewhere = 0.0
        self.sent = 0.0
        self.usual = 0.0
        self.between_s = 0.0
        self.paces: dict[str, Estimate] = {"first_byte": Estimate(), "total": Estimate()}
        self.kept: dict[str, Kept] = {}
        self.out: frozenset[str] = frozenset()
        self.times: dict[str, Quantiles] = {}
        self.stir = Stir()

    def kept_of(self, slo: str) -> Kept:
        """What it keeps of a class's promises."""
        kept = self.kept.get(slo)
        if kept is None:
            kept = self.kept[slo] = Kept()
        return kept

    def saw(self, now: float, phase: str, seconds: float) -> None:
        """A phase took so long."""
        times = self.times.get(phase)
        if times is None:
            times = self.times[phase] = Quantiles()
        times.add(now, seconds)

    def saw_between(self, seconds: float) -> None:
        """Events of a stream were so far apart, on average."""
        gap = self.between_s
        self.between_s = gap + SHARE * (seconds - gap) if gap else seconds
        if self.stir.looked:
            self.stir.tell()

    def heard(self, elsewhere: float) -> None:
        """So much work is in hand of others."""
        self.elsewhere = elsewhere
        if self.stir.looked:
            self.stir.tell()

    def trust(self, slo: str, *, trusted: bool) -> None:
        """Whether it is given calls of this class."""
        self.out = self.out - {slo} if trusted else self.out | {slo}
        self.stir.tell()
