"""Limits while the shared store does not answer: a share of each is kept here, and what is used is
owed to the store.

Buckets go on leaking here at the share's pace.  What is owed of one is what has not leaked by then,
less what the store still holds of the level that the share began with.  But where the store's level
shows that others went on using it, its leak was theirs: so much fuller as it is, so much of what
leaked here is owed, too, as far back as they may have found the store before us (`DOUBT_MS`).

Source: algorithms.md 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modgate.errors import Unasked
from modgate.limits.levels import Denied, Levels, Limit, Wanted
from modgate.limits.slices import RECORD_MS, Slices

PLACE_WAIT_MS = 1000
DOUBT_MS = 1000  # gateways find a store that is back within twice as long


@dataclass(slots=True)
class Seed:
    """A share of a limit as it began: the level that it took over, and when.

    `whole`: the level at the store.  `taken`: what was admitted of the share.
    """

    limit: Limit
    part: Limit
    level: int
    at_ms: int
    whole: int
    taken: int = 0

    def left(self, now_ms: int) -> int:
        """What the store still holds of that level."""
        return max(0, self.level - max(0, now_ms - self.at_ms) * self.part.amount)

    def owed(self, level: int, at_store: int, now_ms: int) -> int:
        """In unit x ms; `level`: of the share by now."""
        gone_ms, owed = max(0, now_ms - self.at_ms), level - self.left(now_ms)
        others = at_store - max(0, self.whole - gone_ms * self.limit.amount)
        if others > 0:
            full = self.limit.burst * self.limit.period_ms
            leaked = min(gone_ms, DOUBT_MS) * self.part.amount * min(others, full) // full
            owed = min(self.taken * self.limit.period_ms, owed + leaked)
        return max(0, owed)


@dataclass(eq=False)
class Alone:
    """One gateway's shares of limits.  `alive`: how many gateways there are, as last known."""

    slices: Slices
    alive: int = 1
    _owed: dict[str, tuple[Limit, int]] = field(default_factory=dict)
    _seeds: dict[str, Seed] = field(default_factory=dict)
    _levels: Levels = field(default_factory=Levels)

    def part(self, limit: Limit) -> Limit:
        """This gateway's share of a limit; those of all that live sum to at most the limit."""
        amount, burst = max(1, limit.amount // self.alive), max(1, limit.burst // self.alive)
        return replace(limit, amount=amount, burst=burst)

    def reserve(
        self, rid: str, wanted: Wanted, lacking: Sequence[int], now_ms: int
    ) -> Denied | None:
        """Admit what `lacking` names by this gateway's share; Unasked where nothing may."""
        if any(wanted[index][0].when_down == "closed" for index in lacking):
            raise Unasked("the store of the limits does not answer; try again later")
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
        self._took(wanted, lacking, now_ms)
        return None

    def _took(self, wanted: Wanted, lacking: Sequence[int], now_ms: int) -> None:
        for limit, count in (wanted[index] for index in lacking):
            if limit.kind == "c":
                self.slices.share(limit, now_ms).in_hand += count
                continue
            if limit.kind == "w":
                self.owe(limit, count)
                continue
            if limit.when_down == "open":
                self._levels.charge(self._seed(limit, now_ms), count, now_ms)
            self._seeds[limit.key].taken += count

    def _seed(self, limit: Limit, now_ms: int) -> Limit:
        """The share, which begins where the whole was last known to be, not fresh."""
        seed = self._seeds.get(limit.key)
        if seed is not None:
            return seed.part
        part, share = self.part(limit), self.slices.share(limit, now_ms)
        whole = share.level_now(now_ms)
        level = whole * part.amount // limit.amount
        self._seeds[limit.key] = Seed(limit, part, level, now_ms, whole)
        self._levels.put(part, level, now_ms)
        return part

    def owe(self, limit: Limit, count: int) -> None:
        """So much was used, or given back, that the store does not know of."""
        known = self._owed.get(limit.key)
        self._owed[limit.key] = (limit, count + (known[1] if known else 0))

    def settle(
        self, rid: str, spent: Sequence[tuple[Limit, int]], actual: Sequence[int], now_ms: int
    ) -> None:
        """A request that was admitted here ended."""
        counts = list(zip(spent, actual, strict=True))
        shared = [
            count
            for (limit, _), count in counts
            if limit.kind != "c" and limit.when_down == "local_share"
        ]
        if self._levels.settle(rid, shared, now_ms):
            self._levels.forget(rid)
        for (limit, reserved), count in counts:
            if limit.kind == "c":
                self.slices.share(limit, now_ms).in_hand -= reserved
            elif limit.kind == "w" or limit.key not in self._seeds:
                self.owe(limit, count - reserved)
            else:
                self._seeds[limit.key].taken += count - reserved

    @property
    def kept(self) -> list[Limit]:
        """The limits of which shares are kept."""
        return [seed.limit for seed in self._seeds.values()]

    def due(self, heard: Mapping[str, int], now_ms: int) -> list[tuple[Limit, int]]:
        """What the store is to be told, now that it answers; it is told once.

        `heard`: levels as the store has them, by key; a share that is not among them is kept.
        """
        for key, at_store in heard.items():
            seed = self._seeds.pop(key, None)
            if seed is not None and seed.limit.kind == "b":  # a window leaks nothing: see `_took`
                level = seed.owed(self._levels.level(seed.part, now_ms), at_store, now_ms)
                self.owe(seed.limit, -(-level // seed.limit.period_ms))
        found = [(limit, count) for limit, count in self._owed.values() if count]
        self._owed.clear()
        return found

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until the share has so many."""
        return self._levels.wait_ms(self.part(limit), count, now_ms)

    def level(self, limit: Limit, now_ms: int) -> int:
        """The level of the whole, as the share has it."""
        part = self.part(limit)
        return self._levels.level(part, now_ms) * limit.amount // part.amount
