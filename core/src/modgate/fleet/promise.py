"""One attempt's promise: what was predicted of it, and what its engine still has to do for it.

Source: algorithms.md Appendix B (`on_dispatch`, `on_first`, `on_end`).
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from modgate.fleet.pick import Choice
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Promised, Terms

PATIENCE = 2.0  # times its target, or what is predicted where that is more
STALLS_S = 5.0  # after so long without an event a stream that is late is not looked at any more
PATIENCE_LEAST_S = 1.0  # a hiccup of the gateway's own is not an engine's fault


class StreamSoFar(Protocol):
    """A stream as far as it came.

    `events`: so many; `unread_s`: for so long of it nobody read.
    """

    events: int
    unread_s: float

    @property
    def silent_s(self) -> float:
        """For how long it has been read, and nothing came; 0 = nobody reads now."""
        ...


class Promise:
    """From its dispatch to its end, which comes exactly once.

    Whoever holds it says when the first event came and how it ended; in between it counts in the
    engine's work.  `ratio`: what the judged phase took of its target, `between_ratio`: what the
    mean gap between events took of its own; None until then.  `gap_s`: what that was there before,
    0 = not known.  `broke`: the phases that took more than their target.
    """

    __slots__ = (
        "_began",
        "_first",
        "_left",
        "_load",
        "_reply",
        "between_ratio",
        "broke",
        "ended",
        "gap_s",
        "predicted",
        "ratio",
        "seat",
        "terms",
    )

    def __init__(self, choice: Choice, work: float, terms: Terms, now: float) -> None:
        self.seat: Seat = choice.seat
        self.terms = terms
        self.predicted = choice.predicted
        self.ratio: float | None = None
        self.between_ratio: float | None = None
        self.broke = ""
        self.ended = False
        self._load = choice.load
        self._left = work
        self._began = now
        self._first = -1.0
        self._reply: StreamSoFar | None = None
        self.gap_s = choice.seat.standing.between_s
        choice.seat.take(work)

    @property
    def patience_s(self) -> float:
        """How long the call may say nothing before another engine is asked.

        As long as the longest reply that is allowed, where something is promised; else without end.
        """
        terms = self.terms
        if not terms.slo:
            return inf
        return max(PATIENCE_LEAST_S, PATIENCE * terms.longest_s * max(1.0, self.predicted))

    def carry(self, more: float) -> None:
        """The call is larger than it was taken for: others came along."""
        self.seat.more(more)
        self._left += more
        self._load += more
        if self._load > more:
            self.predicted *= self._load / (self._load - more)

    def first(self, now: float, reply: StreamSoFar | None = None) -> None:
        """The first event came: its prompt is read.  `reply`: its stream, to be looked at."""
        if self._first >= 0 or self.ended:
            return
        self._first = now
        self.seat.health.alive(now)
        standing = self.seat.standing
        standing.saw(now, "first_byte", now - self._began)
        if reply is not None and self.terms.between_s:
            self._reply = reply
            standing.open.add(self)
        if self.terms.phase != "first_byte":
            return
        if self.terms.serial:
            read = min(self.terms.read, self._left)
            self._left -= read
            self.seat.more(-read)
        self._judge(now)

    def look(self, now: float) -> None:
        """Count the promise of a stream that stalls as broken, before anybody cuts the stream.

        An engine of which all streams stall would go on getting calls until the first of them is
        cut.
        """
        reply = self._reply
        if reply is not None and reply.silent_s >= STALLS_S:
            took_s = now - self._first - reply.unread_s
            self._judge_gaps(now, took_s, reply.events, ok=False, left=False)

    def end(
        self,
        now: float,
        *,
        ok: bool,
        events: int = 0,
        unread_s: float = 0.0,
        given_up: bool = False,
        left: bool = False,
    ) -> None:
        """It ended; `events` came, of a stream, the first one with them.

        `unread_s`: for so long of it nobody read, for its client did not: what came meanwhile was
        late by nobody's fault.  `given_up`: nothing had come for so long that it was not waited for
        any more.  `left`: its client did not wait, or not longer; that is nobody's fault, but it
        took so long at least.
        """
        if self.ended:
            return
        self.ended = True
        self.seat.give(self._left)
        if self._reply is not None:
            self.seat.standing.open.discard(self)
            self._reply = None
        if events and self._first >= 0 and self.between_ratio is None:
            self._judge_gaps(now, now - self._first - unread_s, events, ok=ok, left=left)
        if not ok:
            if given_up and self._first < 0:
                self.seat.health.mute_since(self._began)
                self._judge(now, least=True)
            elif left and self._first < 0:
                self._learn(now, now - self._began, least=True)
            return
        self.seat.health.alive(now)
        if self.terms.phase == "total":
            self.seat.standing.saw(now, "total", now - self._began)
            self._judge(now)

    def _judge_gaps(self, now: float, took_s: float, events: int, *, ok: bool, left: bool) -> None:
        """What lay between the events of a stream, on average: however many came in one piece, the
        engine wrote them one by one.

        The gap in which a stream was cut counts as one.  Who cut it did not wait for its end, so it
        is judged as far as it came; but what the engine broke off itself is not in time.
        """
        gaps = events - 1 if ok else events
        if gaps < 1:
            return
        terms, standing = self.terms, self.seat.standing
        gap_s, target_s = max(0.0, took_s) / gaps, terms.between_s
        late = 0 < target_s < gap_s
        if not (ok or late or (left and events > 1)):
            return
        standing.saw_between(gap_s, target_s)
        standing.saw(now, "between", gap_s)
        if target_s:
            standing.open.discard(self)
            self.between_ratio = ratio = gap_s / target_s
            if late:
                self._breaks("between")
            record = standing.record_of(terms.slo, "between")
            record.judge(now, predicted=self.gap_s / target_s, ratio=ratio)

    def _judge(self, now: float, *, least: bool = False) -> None:
        """What the phase took teaches the estimate, and counts for or against the engine.

        `least`: it took so long at least; that it would be faster is not learned from it.
        """
        terms, seat = self.terms, self.seat
        took = now - self._began
        self.ratio = ratio = took / terms.target_s
        self._learn(now, took, least=least)
        if ratio > 1:
            self._breaks(terms.phase)
        record = seat.standing.record_of(terms.slo, terms.phase)
        record.judge(now, predicted=self.predicted, ratio=ratio)

    def _breaks(self, phase: Promised) -> None:
        self.broke = f"{self.broke},{phase}" if self.broke else phase

    def _learn(self, now: float, took_s: float, *, least: bool) -> None:
        if self._load <= 0:
            return
        pace = max(0.0, took_s - self.seat.away_s) / self._load
        estimate = self.seat.standing.paces[self.terms.phase]
        if not least or pace > estimate.own:
            estimate.learn(now, pace)
            self.seat.slots.changes.tell()
