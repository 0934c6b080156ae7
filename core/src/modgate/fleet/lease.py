"""The right to one slot of one backend for one call."""

from __future__ import annotations

from math import inf
from typing import Literal, Protocol

from modgate.api.select import Backend
from modgate.errors import GatewayError
from modgate.fleet.concurrency import Watch
from modgate.fleet.pick import Choice, Wanted, Why
from modgate.fleet.promise import Promise, StreamSoFar
from modgate.fleet.slots import Seat

Ended = Literal["ok", "refused", "failed", "timed_out", "cancelled", "pending"]


class Lessor(Protocol):
    """Who is told how a call ended."""

    def now(self) -> float:
        """The time."""
        ...

    def ended(self, seat: Seat, ended: Ended, error: GatewayError | None, now: float) -> None:
        """A call at this seat ended."""
        ...

    def spoilt(self, seat: Seat) -> None:
        """A reply of this seat ended well, but is unusable."""
        ...


class Lease:
    """The right to one slot; given back exactly once.

    `wanted`, `choice`, `promise`: what was asked for, what was chosen, and what was promised.
    """

    __slots__ = ("_fleet", "_seat", "_watch", "_work", "backend", "choice", "promise", "wanted")

    def __init__(
        self,
        backend: Backend,
        wanted: Wanted,
        choice: Choice,
        promise: Promise | None,
        fleet: Lessor,
        watch: Watch | None = None,
    ) -> None:
        self.backend = backend
        self.wanted = wanted
        self.choice = choice
        self.promise = promise
        self._seat: Seat | None = choice.seat
        self._work = wanted.work
        self._fleet = fleet
        self._watch = watch

    @property
    def why(self) -> Why:
        """How the backend was chosen."""
        return self.choice.why

    @property
    def patience_s(self) -> float:
        """See `Promise.patience_s`."""
        return inf if self.promise is None else self.promise.patience_s

    def carry(self, work: float) -> None:
        """Set the work of the call, to which others were added."""
        if self._seat is None:
            return
        if self.promise is not None:
            self.promise.carry(work - self._work)
        else:
            self._seat.more(work - self._work)
        self._work = work

    def first(self, reply: StreamSoFar | None = None) -> None:
        """The first event of its reply came; `reply`: its stream, to be looked at."""
        promise, watch = self.promise, self._watch
        if promise is not None or watch is not None:
            now = self._fleet.now()
            if promise is not None:
                promise.first(now, reply)
            if watch is not None:
                watch.first(now)

    def give_back(
        self,
        ended: Ended = "cancelled",
        error: GatewayError | None = None,
        events: int = 0,
        unread_s: float = 0.0,
    ) -> None:
        """The call ended; the slot goes to whoever waits for it.

        `events`: how many came; `unread_s`: how long nobody read the stream.
        """
        seat, self._seat = self._seat, None
        if seat is None:
            return
        now = self._fleet.now()
        if ended == "ok":
            seat.tally.served += self._work
        if self.promise is not None:
            self.promise.end(
                now,
                ok=ended == "ok",
                events=events,
                unread_s=unread_s,
                given_up=ended == "timed_out",
                left=ended == "cancelled",
            )
        else:
            seat.give(self._work)
        if self._watch is not None and ended in ("ok", "timed_out"):
            late = ended == "timed_out" or self._watch.late(now, events, unread_s)
            seat.slots.saw(now, late=late)
        self._fleet.ended(seat, ended, error, now)

    def spoilt(self) -> None:
        """The call ended well, but its reply turned out to be unusable."""
        self._fleet.spoilt(self.choice.seat)
