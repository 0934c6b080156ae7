"""Limits while the shared store does not answer: a share of each is kept here, and what is used is
owed to the store.

Source: algorithms.md 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from modgate.errors import Unavailable
from modgate.limits.levels import Denied, Levels, Limit
from modgate.limits.slices import RECORD_MS, Slices
from modgate.limits.store import Wanted

PLACE_WAIT_MS = 1000


@dataclass(eq=False)
class Alone:
    """One gateway's shares of limits.  `alive`: how many gateways there are, as last known."""

    slices: Slices
    alive: int = 1
    owed: dict[str, tuple[Limit, int]] = field(default_factory=dict)
    _levels: Levels = field(default_factory=Levels)
    _seeded: dict[str, int] = field(default_factory=dict)

    def part(self, limit: Limit) -> Limit:
        """This gateway's share of a limit; those of all that live sum to at most the limit."""
        amount, burst = max(1, limit.amount // self.alive), max(1, limit.burst // self.alive)
        return replace(limit, amount=amount, burst=burst)

    def reserve(
        self, rid: str, wanted: Wanted, lacking: Sequence[int], now_ms: int
    ) -> Denied | None:
        """Admit what `lacking` names by this gateway's share; Unavailable where nothing may."""
        if any(wanted[index][0].when_down == "closed" for index in lacking):
            raise Unavailable("the store of the limits does not answer; try again later")
        kept = [index for index in lacking if wanted[index][0].when_down == "local_share"]
        for index in kept:
            limit, count = wanted[index]
            in_hand = self.slices.share(limit, now_ms).in_hand
            if limit.kind == "c" and in_hand + count > self.part(limit).amount:
                return Denied(PLACE_WAIT_MS, index)
        rates = [index for index in kept if wanted[index][0].kind != "c"]
        local = [(self._seed(wanted[index][0], now_ms), wanted[index][1]) for index in rates]
        denied = self._levels.reserve(rid, local, now_ms, RECORD_MS)
        if denied is not None:
            return Denied(denied.wait_ms, rates[denied.index])
        self._took([wanted[index] for index in lacking], now_ms)
        return None

    def _took(self, wanted: Wanted, now_ms: int) -> None:
        for limit, count in wanted:
            if limit.kind == "c":
                self.slices.share(limit, now_ms).in_hand += count
            else:
                self.owe(limit, count)

    def _seed(self, limit: Limit, now_ms: int) -> Limit:
        """The share begins where the whole was last known to be, not fresh."""
        part, share = self.part(limit), self.slices.share(limit, now_ms)
        if share.known_ms > self._seeded.get(limit.key, -1):
            self._seeded[limit.key] = share.known_ms
            known = share.level_now(now_ms) * part.amount // limit.amount
            self._levels.put(part, max(known, self._levels.level(part, now_ms)), now_ms)
        return part

    def owe(self, limit: Limit, count: int) -> None:
        """So much was used, or given back, that the store does not know of."""
        known = self.owed.get(limit.key)
        self.owed[limit.key] = (limit, count + (known[1] if known else 0))

    def settle(self, rid: str, limits: Sequence[Limit], actual: Sequence[int], now_ms: int) -> None:
        """A request that was admitted here ended."""
        shared = [
            count
            for limit, count in zip(limits, actual, strict=True)
            if limit.kind != "c" and limit.when_down == "local_share"
        ]
        if self._levels.settle(rid, shared, now_ms):
            self._levels.forget(rid)

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until the share has so many."""
        return self._levels.wait_ms(self.part(limit), count, now_ms)

    def level(self, limit: Limit, now_ms: int) -> int:
        """The level of the whole, as the share has it."""
        part = self.part(limit)
        return self._levels.level(part, now_ms) * limit.amount // part.amount

    def prune(self) -> None:
        """Forget limits that nobody asks for any more."""
        for key in [key for key in self._seeded if key not in self.slices.shares]:
            del self._seeded[key]
