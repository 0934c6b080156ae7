"""Limits while the shared store does not answer.

Each gateway keeps a share of every limit, and owes the store what is used meanwhile.

A bucket leaks here at the pace of the share.  When the store is back, it is told what has not
leaked yet, less what it still holds of the level that the share began with.

Other gateways may find the store a little before this one does.  What leaks there in that time is
theirs to use.  So where the store's level is higher than it would be if nobody had used it, a part
of what leaked here is owed, too: of at most `DOUBT_MS`, and in proportion to how much fuller the
store is.

Source: algorithms.md 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modgate.errors import Unasked
from modgate.limits.levels import Denied, Levels, Limit, Wanted
from modgate.limits.slices import RECORD_MS, Slices

PLACE_WAIT_MS = 1000
DOUBT_MS = 1000  # half of the time within which all gateways find that the store is back


@dataclass(slots=True)
class Seed:
    """A share of a limit, as it was when the store was lost.

    `part`: the limit that the share is.  `level`: its level at `at_ms`, the share of `whole`, which
    was the level at the store; both in unit x ms.  `taken`: units that were admitted of it since.
    """

    limit: Limit
    part: Limit
    level: int
    at_ms: int
    whole: int
    taken: int = 0

    def left(self, now_ms: int) -> int:
        """What the store still holds of `level`, after it leaked at the share's pace."""
        return max(0, self.level - max(0, now_ms - self.at_ms) * self.part.amount)

    def owed(self, level: int, at_store: int, now_ms: int) -> int:
        """What the store is owed, in unit x ms.

        `level`: of the share by now.  `at_store`: of the whole limit, as the store has it by now.
        """
        gone_ms, owed = max(0, now_ms - self.at_ms), level - self.left(now_ms)
        others = at_store - max(0, self.whole - gone_ms * self.limit.amount)
        if others > 0:
            full = self.limit.burst * self.limit.period_ms
            leaked = min(gone_ms, DOUBT_MS) * self.part.amount * min(others, full) // full
            owed = min(self.taken * self.limit.period_ms, owed + leaked)
        return max(0, owed)


@dataclass(eq=False)
class LocalShares:
    """One gateway's shares of limits.

    `slices`: what was known of the levels.  `alive`: how many gateways there were when the store
    last answered; a share is one part in so many.
    """

    slices: Slices
    alive: int = 1
    _owed: dict[str, tuple[Limit, int]] = field(default_factory=dict)
    _seeds: dict[str, Seed] = field(default_factory=dict)
    _levels: Levels = field(default_factory=Levels)

    def part(self, limit: Limit) -> Limit:
        """This gateway's share of a limit; those of all sum to it at most, or are 1 each."""
        amount, burst = max(1, limit.amount // self.alive), max(1, limit.burst // self.alive)
        return replace(limit, amount=amount, burst=burst)

    def reserve(
        self, rid: str, wanted: Wanted, lacking: Sequence[int], now_ms: int
    ) -> Denied | None:
        """Charge what the store cannot be asked for; None = admitted.

        `lacking`: indices into `wanted`, of the limits of which no slice is in hand.  Unasked, an
        error for the client, where one of them admits nothing without the store.
        """
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
        """The share of a bucket.  It begins as full as the whole was last known to be."""
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
        """So many units were used (or given back, below zero) that the store does not know of."""
        known = self._owed.get(limit.key)
        self._owed[limit.key] = (limit, count + (known[1] if known else 0))

    def settle(
        self, rid: str, spent: Sequence[tuple[Limit, int]], actual: Sequence[int], now_ms: int
    ) -> None:
        """A request that was admitted here has ended.

        `spent`: what it had reserved here, and `actual`: what it used, of each limit.
        """
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
                seed = self._seeds[limit.key]
                seed.taken += count - reserved
                if limit.when_down == "open":
                    self._levels.charge(seed.part, count - reserved, now_ms)

    @property
    def kept(self) -> list[Limit]:
        """The limits of which this gateway has a share that the store was not told of."""
        return [seed.limit for seed in self._seeds.values()]

    def due(self, levels: Mapping[str, int], now_ms: int) -> list[tuple[Limit, int]]:
        """What the store is to be told now that it answers: units of each limit, to be told once.

        `levels`: by key, as the store has them.  A share whose limit is not among them is kept.
        """
        for key, at_store in levels.items():
            seed = self._seeds.pop(key, None)
            if seed is not None and seed.limit.kind == "b":  # a window leaks nothing: see `_took`
                level = seed.owed(self._levels.level(seed.part, now_ms), at_store, now_ms)
                self.owe(seed.limit, -(-level // seed.limit.period_ms))
        found = [(limit, count) for limit, count in self._owed.values() if count]
        self._owed.clear()
        return found

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until the share admits so many; 0 = now."""
        return self._levels.wait_ms(self.part(limit), count, now_ms)

    def level(self, limit: Limit, now_ms: int) -> int:
        """The level of the whole limit, as if the other shares were as full as this one."""
        part = self.part(limit)
        return self._levels.level(part, now_ms) * limit.amount // part.amount
