"""The calls that wait for one model, within their bounds; and what may be promised to the next.

Source: algorithms.md 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Generic

from modgate.fleet.bound import Bound
from modgate.fleet.claim import CLASS_WEIGHT, Claim, QueueRules
from modgate.fleet.fair import Charge, FairQueue, Took
from modgate.fleet.rate import WorkRate
from modgate.fleet.room import Room
from modgate.fleet.tally import Tally
from modgate.fleet.turns import W

MARGIN = 1.25  # of a predicted wait
ROOM_AGAIN = 0.5  # of its wait, until a tenant that had too much may come again
RETRY_AT_MOST_S = 60.0
JITTER = 0.2


class Line(Generic[W]):
    """Pure: `now` and chance are arguments.

    It lives as long as its model is served, over reloads: what was counted stays.
    """

    __slots__ = ("_alike", "_queue", "_rates", "_room", "tally")

    def __init__(self) -> None:
        self.tally = Tally()
        self._queue: FairQueue[W] = FairQueue()
        self._room = Room()
        self._alike: dict[Hashable, dict[W, None]] = {}
        self._rates: dict[tuple[str, str], WorkRate] = {}  # of those that wait

    @property
    def calls(self) -> int:
        """That wait now."""
        return self._room.calls

    @property
    def work(self) -> float:
        """Of the calls that wait."""
        return self._room.work

    @property
    def body_bytes(self) -> int:
        """Of the calls that wait."""
        return self._room.body_bytes

    @property
    def drain_s(self) -> float:
        """Until all that wait now are served; 0 when nobody knows."""
        return self.work / self.tally.rate if self.tally.rate else 0.0

    def push(self, item: W, rules: QueueRules, now: float) -> list[tuple[W, Bound]]:
        """It waits; answers those that had to go for it, which may be itself, and why."""
        claim = item.claim
        if not self._room.calls:
            self.tally.waits(now)
        self.tally.look(now)
        if not self._queue.waits(claim.slo, claim.tenant):
            self._rates[claim.slo, claim.tenant] = WorkRate()
            self._rates[claim.slo, claim.tenant].start(now)
        self._queue.push(item, _class_weight(claim, rules))
        self._room.add(claim)
        if claim.key is not None:
            self._alike.setdefault(claim.key, {})[item] = None
        dropped: list[tuple[W, Bound]] = []
        while (spare := self._spare(claim.tenant, rules)) is not None:
            dropped.append(spare)
            self.remove(spare[0], now)
        return dropped

    def _spare(self, newcomer: str, rules: QueueRules) -> tuple[W, Bound] | None:
        """What has to go for want of room; None = there is room.

        For too much work only a request that was not worked on goes: the rate is a guess, which one
        slow call can spoil, and what was begun has no more here than its plan is wide.
        """
        over, begun = self._room.over(newcomer, rules), True
        if over is None and self.tally.rate:
            over, begun = self._room.overworked(newcomer, rules, self.tally.rate), False
        last = self._queue.last_of(over[0], begun=begun) if over is not None else None
        return (last, over[1]) if over is not None and last is not None else None

    def remove(self, item: W, now: float) -> None:
        """It waits no more, and is not counted."""
        self._queue.remove(item)
        self._gone(item, now)

    def taken(self, item: W, now: float) -> Charge[W]:
        """It is served with another's turn."""
        charge = self._queue.taken(item)
        self._rates[item.claim.slo, item.claim.tenant].did(now, item.claim.work)
        self._gone(item, now)
        return charge

    def serve(
        self, take: Callable[[W], Took], blocked: set[Hashable], now: float
    ) -> tuple[W, Charge[W]] | None:
        """The next that gets what it waits for (`FairQueue.serve`)."""

        gone: list[W] = []

        def took(item: W) -> Took:
            answer = take(item)
            if answer == "gone":
                gone.append(item)
            return answer

        served = self._queue.serve(took, blocked)
        if served is not None:
            claim = served[0].claim
            self._rates[claim.slo, claim.tenant].did(now, claim.work)
            gone.append(served[0])
        for item in gone:
            self._gone(item, now)
        return served

    def _gone(self, item: W, now: float) -> None:
        claim = item.claim
        self._room.remove(claim)
        if not self._queue.waits(claim.slo, claim.tenant):
            self._rates.pop((claim.slo, claim.tenant), None)
        if claim.key is not None:
            alike = self._alike[claim.key]
            del alike[item]
            if not alike:
                del self._alike[claim.key]
        if not self._room.calls:
            self.tally.empty(now)

    def wait_s(self, claim: Claim, rules: QueueRules) -> float:
        """How long a call of this claim would wait, behind its tenant's others; 0 when unknown.

        By what the tenant is served a second; while that is not known, by its share of what the
        pool does.
        """
        ahead, rate = self._queue.ahead(claim.slo, claim.tenant), self.tally.rate
        if not rate or not ahead:
            return 0.0
        own = self._rates[claim.slo, claim.tenant].value
        if own:
            return ahead / own
        weights = (_class_weight(claim, rules), claim.weight)
        return ahead / (rate * self._queue.share(claim.slo, claim.tenant, weights))

    def late(self, claim: Claim, rules: QueueRules, now: float) -> Bound | None:
        """Whether a call that came now would be late, with a margin; None = it would be in time.

        One whose request was worked on already is not judged: its turn will show.
        """
        if claim.begun or claim.until == inf:
            return None
        self.tally.look(now)
        waits_s, left_s = MARGIN * self.wait_s(claim, rules), claim.until - now
        return self._too_long(waits_s, claim, left_s)

    def expired(self, claim: Claim, now: float) -> Bound | None:
        """Whether it is of no use to serve it now, because it would be late for sure."""
        return self._too_long(0.0, claim, claim.until - now)

    def _too_long(self, waits_s: float, claim: Claim, left_s: float) -> Bound | None:
        needs_s = waits_s + self.tally.service.seconds(claim.work)
        if needs_s <= left_s:
            return None
        return Bound(of="deadline", whose=claim.ends, held=needs_s, most=left_s)

    def place(self, tenant: str) -> int:
        """Which of its tenant's calls another one would be, from 1."""
        return self._room.calls_of(tenant) + 1

    def alike(self, key: Hashable) -> list[W]:
        """The calls of this key that wait, oldest first."""
        return list(self._alike.get(key, ()))


def retry_s(seconds: float, lot: float) -> float:
    """What a client is told to wait: so long, and a little more by lot (0 up to 1)."""
    return min(RETRY_AT_MOST_S, max(1.0, seconds) * (1 + JITTER * lot))


def _class_weight(claim: Claim, rules: QueueRules) -> float:
    return rules.weights.get(claim.slo, CLASS_WEIGHT)
