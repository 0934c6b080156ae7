"""Running a plan without core: a pure driver that feeds events in call order and collects bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from modgate.api.plan import Call, Drawn, Plan
from modgate.api.relay import PENDING, Event, Head, Outcome, State, Usage, fed
from modgate.drawing import check_call
from modgate.errors import PluginFault
from modgate.needs import check_plan
from modgate.own_headers import own_headers
from modgate.units import NOTHING, Units

CALLS_AT_MOST = 2000  # of one plan
PIECES_AT_MOST = 100_000  # of one step of a relay
PATH = re.compile(r"/[!-~]*")

OfT = TypeVar("OfT")
Around = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A reply from its first byte to its end.

    `steps`: the bytes of each feed, in order, and at last those of `close`; `usages`: after each of
    them.
    """

    head: Head
    steps: Sequence[bytes]
    usages: Sequence[Usage]
    calls: Sequence[Call]

    @property
    def reply(self) -> bytes:
        """The body that a client would read."""
        return b"".join(self.steps)

    @property
    def usage(self) -> Usage:
        """The bill."""
        return self.usages[-1]


class Drive:
    """One plan on its way, step by step: `draw` a call, `feed` its events, `end` it; then `close`.

    `outcomes` is what the relay is told: entry i is call i's, one for each call drawn so far.
    AssertionError for a plan, a call, a head or an event that no gateway would take, and for calls
    or pieces of a reply without an end.
    """

    def __init__(self, plan: Plan, calls: Iterator[Call], *, around: Around = nullcontext) -> None:
        self.plan = taken(check_plan, plan)
        self.relay = plan.relay
        if self.relay.heavy:
            self.relay.begin()
        self.head: Head | None = None
        self.calls: list[Call] = []
        self.outcomes: list[Outcome] = []
        self._drawing = calls
        self._around = around

    @property
    def reserve(self) -> Units:
        """What the plan may cost at most."""
        if self.plan.reserve is not None:
            return self.plan.reserve
        if isinstance(self.plan.calls, Drawn) or not isinstance(self.plan.calls, Sequence):
            raise AssertionError("a plan whose calls are drawn lazily must give its reserve")
        return sum((call.size for call in self.plan.calls), NOTHING)

    def draw(self) -> Call | None:
        """The next call; None when there is none."""
        with self._around():
            drawn = list(islice(self._drawing, 1))
        for call in drawn:
            taken(check_call, call)
            assert len(self.calls) < CALLS_AT_MOST, f"a plan of over {CALLS_AT_MOST} calls"
            assert PATH.fullmatch(call.path), f"a call of what is no path: {call.path!r}"
            self.calls.append(call)
            self.outcomes.append(PENDING)
            return call
        return None

    def feed(self, event: Event) -> bytes:
        """An event of the call that was drawn last; the bytes that it gave."""
        index = len(self.calls) - 1
        with self._around():
            return self._sent(fed(self.relay, index, event))

    def end(self, state: State = "ok") -> None:
        """The call that was drawn last is over."""
        self.outcomes[-1] = Outcome(state=state)

    def close(self) -> bytes:
        """The end of a reply that may look good."""
        with self._around():
            given = self._sent(self.relay.close(tuple(self.outcomes)))
        self.head = self.head or self.relay.head
        return given

    def usage(self) -> Usage:
        """What it did cost so far."""
        with self._around():
            return taken(_check_usage, self.relay.usage(tuple(self.outcomes)))

    def stop(self) -> None:
        """The client left: no more calls are wanted."""
        if self.outcomes and self.outcomes[-1] == PENDING:
            self.end("cancelled")
        if (close := getattr(self._drawing, "close", None)) is not None:
            close()

    def _sent(self, made: Iterable[bytes]) -> bytes:
        pieces = list(islice(made, PIECES_AT_MOST))
        assert len(pieces) < PIECES_AT_MOST, f"a step of a relay gave {PIECES_AT_MOST} pieces"
        data = b"".join(pieces)
        if data and self.head is None:
            self.head = self.relay.head
        if self.head is not None and self.head.kind == "sse":
            for piece in filter(None, pieces):
                assert piece.endswith(b"\n\n"), f"on SSE a piece is a whole event: {piece[-40:]!r}"
        return data

    def play(self, replies: Callable[[int, Call], Iterable[Event]]) -> Played:
        """The whole plan, where `replies(index, call)` gives the events of each call."""
        steps: list[bytes] = []
        usages: list[Usage] = []
        while (call := self.draw()) is not None:
            for event in replies(len(self.calls) - 1, call):
                steps.append(self.feed(event))
                usages.append(self.usage())
            self.end()
        steps.append(self.close())
        usages.append(self.usage())
        assert self.head is not None
        taken(own_headers, self.head)
        return Played(head=self.head, steps=steps, usages=usages, calls=self.calls)


def _check_usage(usage: object) -> None:
    if not isinstance(usage, Usage):
        raise PluginFault(f"usage answered {type(usage).__name__}, and no Usage")
    other: object = usage.other
    if not isinstance(other, Units):
        raise PluginFault(f"the other of a Usage is Units, and not {type(other).__name__}")


def taken(check: Callable[[OfT], object], made: OfT) -> OfT:
    """What a plugin made, as the gateway would take it."""
    try:
        check(made)
    except PluginFault as fault:
        raise AssertionError(fault.message) from fault
    return made


def wire(call: Call, events: Iterable[Event]) -> bytes:
    """Events as an engine sends them."""
    if call.reply != "sse":
        return b"".join(event.data for event in events)
    return b"".join(event.sse() for event in events) + b"data: [DONE]\n\n"
