"""How much of a queue each tenant has, and who has too much.

When there is no room, whoever has the most gives some up: never the newcomer of a quiet tenant.

Source: algorithms.md 2.2 (longest-queue-drop).
"""

from __future__ import annotations

from typing import Literal

from modgate.fleet.bound import Bound
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.ranked import Ranked


class _TenantRoom:
    """Of one tenant, over its classes."""

    __slots__ = ("body_bytes", "calls", "work")

    def __init__(self) -> None:
        self.calls = 0
        self.body_bytes = 0
        self.work = 0.0


class Room:
    """What waits for one model, in all and by tenant."""

    __slots__ = ("_by_bytes", "_by_calls", "_by_work", "_held", "body_bytes", "calls", "work")

    def __init__(self) -> None:
        self.calls = 0
        self.body_bytes = 0
        self.work = 0.0
        self._held: dict[str, _TenantRoom] = {}
        self._by_calls = Ranked()
        self._by_bytes = Ranked()
        self._by_work = Ranked()

    def add(self, claim: Claim) -> None:
        """It waits."""
        held = self._held.get(claim.tenant)
        if held is None:
            held = self._held[claim.tenant] = _TenantRoom()
        self._more(held, claim, 1)

    def remove(self, claim: Claim) -> None:
        """It waits no more."""
        held = self._held[claim.tenant]
        self._more(held, claim, -1)
        if not held.calls:
            del self._held[claim.tenant]
            for ranked in (self._by_calls, self._by_bytes, self._by_work):
                ranked.discard(claim.tenant)
        if not self.calls:
            self.work = 0.0  # and no sum of what roundings left

    def _more(self, held: _TenantRoom, claim: Claim, sign: int) -> None:
        more_bytes, more_work = sign * claim.body_bytes, sign * claim.work
        self.calls += sign
        self.body_bytes += more_bytes
        self.work += more_work
        held.calls += sign
        held.body_bytes += more_bytes
        held.work += more_work
        tenant, weight = claim.tenant, claim.weight
        self._by_calls.set(tenant, -held.calls / weight)
        self._by_bytes.set(tenant, -held.body_bytes / weight)
        self._by_work.set(tenant, -held.work / weight)

    def calls_of(self, tenant: str) -> int:
        """That wait of one tenant."""
        held = self._held.get(tenant)
        return held.calls if held is not None else 0

    def over(self, newcomer: str, rules: QueueRules) -> tuple[str, Bound] | None:
        """Who has too many calls or bytes after a call of the newcomer was added; None = there is
        room."""
        held = self._several(newcomer)
        if held is not None and (bound := _past(held, rules, "tenant")) is not None:
            return newcomer, bound
        bound = _past(self, rules, "all")
        if bound is None:
            return None
        longest = (self._by_calls if bound.of == "calls" else self._by_bytes).least()
        assert longest is not None, "what waits is somebody's"
        return longest, bound

    def overworked(self, newcomer: str, rules: QueueRules, rate: float) -> tuple[str, Bound] | None:
        """Who has too much work here after a call of the newcomer was added; None = there is room.

        Nobody has with a single call: whether that is in time is judged by itself.  `rate`: work
        that is done a second.
        """
        held, own_s = self._several(newcomer), rules.share * rules.work_s
        if held is not None and held.work > own_s * rate:
            return newcomer, Bound(of="work", whose="tenant", held=held.work / rate, most=own_s)
        if self.work > rules.work_s * rate:
            longest = self._by_work.least()
            if longest is not None and self._several(longest) is not None:
                return longest, Bound(of="work", held=self.work / rate, most=rules.work_s)
        return None

    def _several(self, tenant: str) -> _TenantRoom | None:
        held = self._held.get(tenant)
        return held if held is not None and held.calls > 1 else None


def _past(
    held: _TenantRoom | Room, rules: QueueRules, whose: Literal["all", "tenant"]
) -> Bound | None:
    """The bound that so many calls or bytes are over."""
    part = rules.share if whose == "tenant" else 1.0
    most_calls, most_bytes = part * rules.calls, part * rules.body_bytes
    if held.calls > most_calls:
        return Bound(of="calls", whose=whose, held=held.calls, most=most_calls)
    if held.body_bytes > most_bytes:
        return Bound(of="body_bytes", whose=whose, held=held.body_bytes, most=most_bytes)
    return None
