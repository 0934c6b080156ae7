"""How an engine stands for one model: its work in hand, its pace, and the promises it keeps.

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


class OpenCall(Protocol):
    """A call that is under way, and of which something may be known before it ends."""

    def look(self, now: float) -> None:
        """Whether that is so by now; asked each second."""
        ...


class Standing:
    """How one engine stands for one model.  Work is in the modality's weighted units.

    `work`: of this gateway's calls in hand; `elsewhere`: of other gateways' calls, as they told
    last, and what they have probably added since; `usual`: of one call lately; `sent`: of all calls
    sent while other gateways were heard of.  `between_s`: the mean gap of streams lately, 0 = not
    known.  `paces`: seconds per unit of work, by phase.  `records`: of promises, by SLO class and
    phase; `out`: those that it is disqualified for.  `times`: by phase, for people.  `open`:
    streams with a promise on their gaps.  `changes`: its engine's.
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
        self.open: set[OpenCall] = set()
        self.changes = Changes()

    def record_of(self, slo: str, phase: Promised) -> PromiseRecord:
        """The record of how it keeps a class's promises of a phase."""
        record = self.records.get((slo, phase))
        if record is None:
            record = self.records[slo, phase] = PromiseRecord()
        return record

    def forget(self, now: float) -> None:
        """Drop the records of classes that have not been asked for lately."""
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
        """Qualify it, or not, for calls of this class that are judged by this phase."""
        promised = {(slo, phase)}
        self.out = self.out - promised if trusted else self.out | promised
        self.changes.tell()
