"""The trails of recent requests: what led to each reply, for `modgate explain` and its admin page.

A trail holds what the request made anyway, and is read only when somebody asks.  They are bounded
by count and by what they weigh; requests that never reached an engine have a room of their own, so
that a storm of refusals leaves the others to be asked about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from modgate.api.sink import Receipt
from modgate.draft import Draft
from modgate.errors import GatewayError, LimitReached, QuotaSpent
from modgate.fleet.bound import Bound, Full
from modgate.fleet.pool_state import PoolState
from modgate.limits.admission import Admission, Reservation
from modgate.limits.levels import Denied
from modgate.limits.rates import CallerRates

NOTHING: Mapping[str, str] = {}
REFUSED_SHARE = 4  # of both bounds, one part in so many is for those that reached no engine

# Bytes, never less than it is (tests/core/explain/test_trails.py weighs real ones).
BASE, PER_TRY, PER_STEP, PER_HEADER = 3500, 2000, 100, 130
PER_SECONDS, PER_MISSED, PER_STOOD = 40, 700, 520


class Trail(NamedTuple):
    """One request's.

    `terms`: its limits.  `refused`: the reservation that one of them had no room for; `refusal`:
    the words of a limit that its client was told.  `bound`: of the queue that refused it.
    `apart`: limits were kept without the store that they are shared in.
    """

    receipt: Receipt
    draft: Draft
    terms: CallerRates | None
    refused: tuple[Reservation, Denied] | None
    refusal: str
    bound: Bound | None
    apart: bool
    weight: int


# A Trail as it is kept: making one takes longer than all the rest.
Raw = tuple[
    Receipt,
    Draft,
    CallerRates | None,
    tuple[Reservation, Denied] | None,
    str,
    Bound | None,
    bool,
    int,
]


@dataclass(slots=True, eq=False)
class KeptTrails:
    """Trails, oldest first, within bounds."""

    requests: int = 0
    at_most: int = 0
    trails: deque[Raw] = field(default_factory=deque)
    weight: int = 0

    def trim(self) -> None:
        """Only as many as there may be."""
        trails = self.trails
        while trails and (len(trails) > self.requests or self.weight > self.at_most):
            self.weight -= trails.popleft()[-1]


class Trails:
    """Of all snapshots: a reload forgets none."""

    def __init__(self) -> None:
        self._served = KeptTrails()
        self._refused = KeptTrails()
        self._pool_state: PoolState | None = None

    def use(self, requests: int, at_most: int) -> None:
        """So many, and so many bytes, from now on; none for 0."""
        part, part_bytes = -(-requests // REFUSED_SHARE), at_most // REFUSED_SHARE
        for room, count, size in (
            (self._served, requests - part, at_most - part_bytes),
            (self._refused, part, part_bytes),
        ):
            room.requests, room.at_most = count, size
            room.trim()

    def keep(
        self,
        receipt: Receipt,
        draft: Draft,
        admission: Admission | None,
        error: GatewayError | None,
        apart: bool,
    ) -> None:
        """A request of a known caller ended; what was a page of ours, and no work, is not kept."""
        if error is None and not draft.tries and not draft.notes:
            return
        room = self._served if draft.tries else self._refused
        if not room.requests:
            return
        terms, refused = None, None
        if admission is not None:
            terms, refused = admission.terms, admission.refused
        draft.request_headers = NOTHING  # they may be secret
        draft.dues = None  # other requests hang on them
        refusal = ""
        if error is not None and isinstance(error, LimitReached | QuotaSpent):
            refusal = error.message
        bound = error.bound if isinstance(error, Full) else None
        weight = self._weighed(draft)
        room.trails.append((receipt, draft, terms, refused, refusal, bound, apart, weight))
        room.weight += weight
        if len(room.trails) > room.requests or room.weight > room.at_most:
            room.trim()

    def _weighed(self, draft: Draft) -> int:
        """Bytes that nothing else keeps.

        A pool state is shared by those who went at its time; whoever comes first of them pays.
        """
        weight = BASE + PER_STEP * len(draft.steps)
        if draft.reply_headers is not None:
            weight += PER_HEADER * len(draft.reply_headers)
            weight += sum(map(len, draft.reply_headers.values()))  # a relay's own may be long
        for tried in draft.tries:
            weight += PER_TRY
            if (choice := tried.choice) is not None:
                weight += PER_SECONDS * (len(choice.seconds) + len(choice.liked[1]))
                weight += self._first_of(choice.lately)
        for missed in draft.missed:
            weight += PER_MISSED + self._first_of(missed.pool_state)
        return weight

    def _first_of(self, pool_state: PoolState | None) -> int:
        if pool_state is None or pool_state is self._pool_state:
            return 0
        self._pool_state = pool_state
        return PER_STOOD * len(pool_state.stood)

    def get(self, request_id: str) -> Trail | None:
        """One of them."""
        for room in (self._served, self._refused):
            for raw in room.trails:
                if raw[0].request_id == request_id:
                    return Trail(*raw)
        return None

    def newest(self) -> list[Trail]:
        """All of them, those that ended last first."""
        found = [Trail(*raw) for room in (self._served, self._refused) for raw in room.trails]
        return sorted(found, key=_ended, reverse=True)

    def __len__(self) -> int:
        return len(self._served.trails) + len(self._refused.trails)

    @property
    def weight(self) -> int:
        """Bytes, as they are counted."""
        return self._served.weight + self._refused.weight


def _ended(trail: Trail) -> float:
    return trail.receipt.wall + trail.receipt.duration_s
