"""One tenant's calls that wait: its requests take turns, each call of a request in its order.

A request of one call is served as it came; one of many calls has one served in each round, so that
a long file never holds up a short one.  Calls that want the same of a backend (`shape`) stand in a
lane, because where one finds no slot none of them will.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Container, Hashable
from itertools import islice
from typing import Generic, Protocol, TypeVar

from modgate.fleet.claim import Claim

LOOK_BACK = 16  # so many requests, for one that was not worked on yet


class Waits(Protocol):
    """What stands in a queue.  `shape`: what it wants of a backend."""

    @property
    def claim(self) -> Claim:
        """Whose it is."""
        ...

    @property
    def shape(self) -> Hashable:
        """What it wants of a backend."""
        ...


W = TypeVar("W", bound=Waits)


class _Turn(Generic[W]):
    """One request's calls of one shape.  `number`: when it stood last at the end of its lane."""

    __slots__ = ("begun", "items", "number")

    def __init__(self, number: int, begun: bool) -> None:
        self.number = number
        self.begun = begun
        self.items: deque[W] = deque()


class Turns(Generic[W]):
    """The calls of one tenant in one class, and the work that it was given there (`served`)."""

    __slots__ = ("_lanes", "_number", "calls", "served", "tenant", "weight", "work")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.weight = 1.0
        self.served = 0.0
        self.calls = 0
        self.work = 0.0
        self._lanes: dict[Hashable, OrderedDict[Hashable, _Turn[W]]] = {}
        self._number = 0

    def push(self, item: W) -> None:
        """It waits."""
        claim = item.claim
        lane = self._lanes.setdefault(item.shape, OrderedDict())
        turn = lane.get(claim.request)
        if turn is None:
            turn = lane[claim.request] = _Turn(self._next(), claim.begun)
        turn.begun = turn.begun or claim.begun
        turn.items.append(item)
        self.calls += 1
        self.work += claim.work

    def remove(self, item: W, *, served: bool = False) -> None:
        """It waits no more; if it was `served`, its request goes to the end.

        KeyError, or ValueError, for one that is not here.
        """
        claim = item.claim
        lane = self._lanes[item.shape]
        turn = lane[claim.request]
        turn.items.remove(item)  # a request has no more here than its plan is wide
        self.calls -= 1
        self.work = self.work - claim.work if self.calls else 0.0
        if turn.items and served:
            turn.number, turn.begun = self._next(), True
            lane.move_to_end(claim.request)
        elif not turn.items:
            del lane[claim.request]
            if not lane:
                del self._lanes[item.shape]

    def _next(self) -> int:
        self._number += 1
        return self._number

    def waits(self, blocked: Container[Hashable]) -> bool:
        """Whether something waits of another shape than these."""
        return any(shape not in blocked for shape in self._lanes)

    def first(self, blocked: Container[Hashable]) -> W:
        """Whose turn it is, of those that are of no shape of these; one must be there."""
        heads = [
            next(iter(lane.values())) for shape, lane in self._lanes.items() if shape not in blocked
        ]
        return min(heads, key=lambda turn: turn.number).items[0]

    def last(self, *, begun: bool) -> W | None:
        """Who is to go if one must: the newest request that was not worked on; if there is none,
        None, or with `begun` the newest of those that were."""
        tails = [
            turn
            for lane in self._lanes.values()
            for turn in islice(reversed(lane.values()), LOOK_BACK)
            if begun or not turn.begun
        ]
        last = max(tails, key=lambda turn: (not turn.begun, turn.number), default=None)
        return last.items[-1] if last is not None else None
