"""How an engine stands for one model: what it has in hand, how fast it is, what it keeps.

Kept by the engine's identity and its own name of the model; nothing here outgrows a few kilobytes
times phases and SLO classes that were asked for lately.
"""

from __future__ import annotations

from typing import Protocol

from modgate.fleet.changes import Changes
from modgate.fleet.estimate import Estimate
from modgate.fleet.promise_record import PromiseRecord
from modgate.fleet.quantiles import Quantiles
from modgate.fleet.terms import Out, Promised

SHARE = 0.1
OUTLIER = 2.0  # times its target: a longer gap counts as one of these, or one stall were a verdict
FIRST = 0.5  # of its target is what the first gap counts as at most, for it may be a cold engine's
NONE_OUT: Out = frozenset()


class Open(Protocol):
    """A call that is under way, and of which something may be known before it ends."""

    def look(self, now: float) -> None:
        """Whether that is so by now; asked each second."""
        ...


class Standing:
    """One engine's for one model.

    `work`: in hand, of this gateway, `elsewhere`: of others as they told last, with what they will
    have added since, `usual`: of one call lately; in the modality's weighted units.  `sent`: all
    that went there from here while others were heard of.
    `between_s`: seconds between events of a stream lately, 0 = not known.  `paces`: by phase.
    `records`: by SLO class and phase; `out`: those that it is disqualified for.  `times`: by phase,
    for people.  `open`: streams that are promised something of their gaps.  `changes`: its
    engine's.
    """

    __slots__ = (
        *("between_s", "elsewhere", "records", "open", "out", "paces", "sent", "changes", "times"),
        *("usual", "work"),
    )

    def __init__(self) -> None:
        self.work = 0.0
        self.elsewhere = 0.0
        self.sent = 0.0
        self.usual = 0.0
        self.between_s = 0.0
        self.paces: dict[str, Estimate] = {"first_byte": Estimate(), "total": Estimate()}
        self.records: dict[tuple[str, Promised], PromiseRecord] = {}
        self.out = NONE_OUT
        self.times: dict[str, Quantiles] = {}
        self.open: set[Open] = set()
        self.changes = Changes()

    def record_of(self, slo: str, phase: Promised) -> PromiseRecord:
        """What it keeps of a class's promises of a phase."""
        record = self.records.get((slo, phase))
        if record is None:
            record = self.records[slo, phase] = PromiseRecord()
        return record

    def forget(self, now: float) -> None:
        """Let go of what is kept of classes that nobody asks for any more."""
        gone = [of for of, record in self.records.items() if record.forgettable(now)]
        for of in gone:
            del self.records[of]
        if not self.out.isdisjoint(gone):
            self.out -= set(gone)
            self.changes.tell()

    def saw(self, now: float, phase: str, seconds: float) -> None:
        """A phase took so long."""
        times = self.times.get(phase)
        if times is None:
            times = self.times[phase] = Quantiles()
        times.add(now, seconds)

    def saw_between(self, seconds: float, target_s: float) -> None:
        """Events of a stream were so far apart, on average; `target_s` 0 = nothing was promised."""
        gap = self.between_s
        if target_s:
            gap = gap or min(seconds, FIRST * target_s)
            seconds = min(seconds, OUTLIER * target_s)
        self.between_s = gap + SHARE * (seconds - gap) if gap else seconds
        if self.changes.looked:
            self.changes.tell()

    def heard(self, elsewhere: float) -> None:
        """So much work is in hand of others."""
        self.elsewhere = elsewhere
        if self.changes.looked:
            self.changes.tell()

    def trust(self, slo: str, phase: Promised, *, trusted: bool) -> None:
        """Whether it is given calls of this class that are judged by this phase."""
        promised = {(slo, phase)}
        self.out = self.out - promised if trusted else self.out | promised
        self.changes.tell()
