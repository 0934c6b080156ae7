"""Slices: parts of shared limits that were reserved at the store, to be spent here.  Pure.

A slice is one record at the store.  Requests spend of it without asking, for one second.  Then what
is left goes back (the record is trimmed), and when the last request that spent of it has ended, the
record is settled to what they really used.  When the store denies more, a slice whose requests have
ended is settled at once, because what they did not need is missing there.

So whatever is charged at the store belongs to an open record until it is known.  A gateway that
dies leaves its last touch; the rest comes back when the record is reaped.

Limits on what is in hand (kind c) are spent as places.  A place that comes free is taken again
here, and places that nobody needed for a second go back.

Over-admission is bounded: a unit that is admitted in [s, s + d] was charged at the store in
[s - SLICE, s + d], so that at most burst + rate x (d + SLICE) are.

Source: algorithms.md 3.3 and `spend` of its appendix B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp

from modgate.limits.levels import Denied, Limit, Wanted
from modgate.limits.store import Reserved

SLICE_MS = 1000
RECORD_MS = 20_000  # an open record that nobody touched for so long may be reaped
NEW_RECORD_MS = 5_000
TOUCH_MS = 2_000
HOT_PER_S = 20.0  # a limit that fewer requests a second ask for is reserved request by request
AHEAD_S = 0.25
PART_AT_MOST = 4  # a slice is at most a fourth of a period's amount
DENIED_AT_MOST_MS, DENIED_LEAST_MS = 250, 5
FADES_S = 1.0
IDLE_MS = 60_000
FRESH_MS = 1000


@dataclass(slots=True, eq=False)
class Slice:
    """One open record at the store.

    The lists have an entry for each of `limits`, in its unit.
    `left`: what may still be spent.
    `due`: what the requests that spent are to be charged: what one that lives reserved, what one
    that ended used.
    `measured`: what they are known to have used.
    `spare`: what those that ended did not need, and what is still charged at the store.
    `live`: how many requests spent of it and have not ended; one counts for each limit.
    """

    rid: str
    limits: tuple[Limit, ...]
    left: list[int]
    due: list[int]
    measured: list[int]
    spare: list[int]
    ends_ms: int
    touched_ms: int
    live: int = 0
    closing: bool = False  # the store is being told that it is over: nothing more is spent of it

    @property
    def counts(self) -> bool:
        """Whether it holds places, which are taken and given back."""
        return self.limits[0].kind == "c"


@dataclass(slots=True, eq=False)
class SlicePart:
    """What one request spent of one limit of a slice."""

    slice: Slice
    index: int
    count: int
    measured: int = 0


@dataclass(slots=True, eq=False)
class Share:
    """What is known here of one limit.

    `slices`: each with the limit's index in it.  `per_s`, `units_per_s`: how fast it is asked for.
    `level`, `known_ms`: how full it was at the store, and when.  `in_hand`: units of requests here.
    """

    limit: Limit
    slices: list[tuple[Slice, int]] = field(default_factory=list)
    per_s: float = 0.0
    units_per_s: float = 0.0
    asked_ms: int = 0
    level: int = 0
    known_ms: int = -IDLE_MS
    denied_ms: int = 0  # nobody asks again before this
    free_ms: int = 0  # when the store said that it would fit
    in_hand: int = 0

    def asked(self, count: int, now_ms: int) -> None:
        """Somebody takes so many units: the rates grow."""
        self.fade(now_ms)
        self.per_s += 1 / FADES_S
        self.units_per_s += count / FADES_S

    def fade(self, now_ms: int) -> None:
        """Let the rates fall by what has passed of `FADES_S`, also while nothing is taken."""
        fade = exp(-max(0, now_ms - self.asked_ms) / 1000 / FADES_S)
        self.per_s *= fade
        self.units_per_s *= fade
        self.asked_ms = max(now_ms, self.asked_ms)

    def source(self, count: int, now_ms: int) -> tuple[Slice, int] | None:
        """A slice of which `count` units can be spent now, and the limit's index in it."""
        for held, index in self.slices:
            fresh = held.counts or held.ends_ms > now_ms
            if fresh and not held.closing and held.left[index] >= count:
                return held, index
        return None

    def want(self, count: int) -> int:
        """How many units to reserve; more than `count` when many requests ask for this limit."""
        if self.limit.kind == "c":
            ahead = min(self.per_s * AHEAD_S, self.limit.amount / (2 * PART_AT_MOST))
            return max(count, int(ahead))
        if self.per_s <= HOT_PER_S:
            return count
        return max(count, int(min(self.units_per_s * AHEAD_S, self.limit.amount / PART_AT_MOST)))

    def wait_ms(self, count: int, now_ms: int) -> int:
        """How long until so many fit, by a level that is at most a second old; else 0."""
        limit = self.limit
        if now_ms - self.known_ms > FRESH_MS:
            return 0
        level = self.level_now(now_ms)
        if limit.kind != "b":
            ends_ms = limit.period_ms if limit.kind == "w" else self.free_ms
            return max(1, ends_ms - now_ms) if level + count > limit.amount else 0
        over = level + (min(count, limit.burst) - limit.burst) * limit.period_ms
        return max(0, -(-over // max(1, limit.amount)))

    def level_now(self, now_ms: int) -> int:
        """The last known level, less what has leaked since and what lies here unspent."""
        unspent = sum(held.left[index] + held.spare[index] for held, index in self.slices)
        if self.limit.kind != "b":
            return max(0, self.level - unspent)
        leaked = self.level - max(0, now_ms - self.known_ms) * self.limit.amount
        return max(0, leaked - unspent * self.limit.period_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """A reservation to be made at the store: of each limit `wanted`, and not less than `least`."""

    rid: str
    least: tuple[tuple[Limit, int], ...]
    wanted: tuple[tuple[Limit, int], ...]

    def fitting(self, levels: Sequence[int]) -> Wanted:
        """As much of what is wanted as fits at these levels, and never less than `least`."""
        return tuple(
            (limit, max(least, min(count, limit.room(level))))
            for (limit, least), (_, count), level in zip(
                self.least, self.wanted, levels, strict=True
            )
        )


@dataclass(frozen=True, slots=True)
class SliceDue:
    """A call that is to be made for a slice: `trim`, `touch` or `settle`, with counts by limit."""

    operation: str
    slice: Slice
    counts: tuple[int, ...]


class Slices:
    """All slices of one gateway.

    `name`: makes record ids that no other gateway makes.  `shares`: by the limits' keys.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._made = 0
        self.shares: dict[str, Share] = {}  # forgotten when idle for a minute
        self._open: dict[str, Slice] = {}  # at most one a limit and second, while requests live

    def share(self, limit: Limit, now_ms: int) -> Share:
        """What is known of a limit, from now on with the amount that it has here."""
        found = self.shares.get(limit.key)
        if found is None:
            found = self.shares[limit.key] = Share(limit, asked_ms=now_ms)
        found.limit = limit
        return found

    def lacking(self, wanted: Wanted, now_ms: int) -> list[int]:
        """Indices of the limits that no slice here has enough of."""
        return [
            index
            for index, (limit, count) in enumerate(wanted)
            if count and self.share(limit, now_ms).source(count, now_ms) is None
        ]

    def denied(self, wanted: Wanted, lacking: Sequence[int], now_ms: int) -> Denied | None:
        """A denial by the store that still stands, of one of the limits; None without one."""
        waits = {}
        for index in lacking:
            share = self.shares[wanted[index][0].key]
            if share.denied_ms > now_ms:
                waits[index] = max(1, share.free_ms - now_ms)
        worst = max(waits, key=waits.__getitem__, default=None)
        return None if worst is None else Denied(waits[worst], worst)

    def asking(self, least: Wanted, wanted: Wanted, tag: str, now_ms: int) -> list[Asking]:
        """The reservations to make: one for each limit on places, and one for all others.

        `least`: what the first of those who wait needs.  `wanted`: what all of them need.
        """
        for limit, _ in least:
            self.shares[limit.key].fade(now_ms)
        both = list(zip(least, wanted, strict=True))
        groups = (
            [pair for pair in both if pair[0][0].kind != "c"],
            *([pair] for pair in both if pair[0][0].kind == "c"),
        )
        found = []
        for group in groups:
            if not group:
                continue
            self._made += 1
            better = tuple((limit, self.shares[limit.key].want(n)) for _, (limit, n) in group)
            rid = f"{tag}{self._name}-{self._made}"
            found.append(Asking(rid, tuple(each for each, _ in group), better))
        return found

    def reserved(
        self, asking: Asking, wanted: Wanted, said: Reserved, now_ms: int
    ) -> Wanted | None:
        """Take in what the store said to `wanted`; the answer is what to ask for next, or None.

        A denied reservation is asked for again with what fits, and then with the least.  Only of a
        bucket that many ask for, and where a whole slice fits soon, that is waited for: to fetch
        each unit as it leaks would cost a trip for every request.
        """
        for (limit, _), level in zip(wanted, said.levels, strict=True):
            share = self.share(limit, now_ms)
            share.level, share.known_ms = level, now_ms
        if said.denied is not None:
            worst = self.shares[wanted[said.denied.index][0].key]
            wait_ms = said.denied.wait_ms
            soon = worst.limit.kind == "b" and wait_ms <= DENIED_AT_MOST_MS
            if wanted != asking.least and not (soon and worst.per_s > HOT_PER_S):
                fitting = asking.fitting(said.levels) if wanted == asking.wanted else wanted
                return asking.least if fitting == wanted else fitting
            worst.denied_ms = now_ms + max(DENIED_LEAST_MS, min(DENIED_AT_MOST_MS, wait_ms))
            worst.free_ms = now_ms + wait_ms
            return None
        none = [0] * len(wanted)
        made = Slice(
            rid=asking.rid,
            limits=tuple(limit for limit, _ in wanted),
            left=[count for _, count in wanted],
            due=list(none),
            measured=list(none),
            spare=list(none),
            ends_ms=now_ms + SLICE_MS,
            touched_ms=now_ms,
        )
        self._open[made.rid] = made
        for index, limit in enumerate(made.limits):
            share = self.shares[limit.key]
            share.denied_ms = 0
            share.slices.append((made, index))
        return None

    def take(self, wanted: Wanted, now_ms: int) -> list[SlicePart | None]:
        """Spend of every limit; None where nothing is wanted, or no slice here has enough."""
        parts: list[SlicePart | None] = []
        for limit, count in wanted:
            share = self.share(limit, now_ms)
            found = share.source(count, now_ms) if count else None
            if found is None:
                parts.append(None)
                continue
            held, index = found
            share.asked(count, now_ms)
            held.left[index] -= count
            held.due[index] += count
            held.live += 1
            if held.counts:
                held.ends_ms = now_ms + SLICE_MS
            share.in_hand += count
            parts.append(SlicePart(held, index, count))
        return parts

    @staticmethod
    def measure(part: SlicePart, count: int) -> None:
        """The request lives, and has used so many units."""
        part.slice.measured[part.index] += count - part.measured
        part.measured = count

    def end(self, part: SlicePart, count: int) -> None:
        """The request has ended, and used so many units; a place is free again."""
        held, index = part.slice, part.index
        self.measure(part, count)
        if held.counts:
            held.due[index] -= part.count
            held.left[index] += part.count
        else:
            held.due[index] += count - part.count
            held.spare[index] += max(0, part.count - count)
        held.live -= 1
        if not held.live and not any(held.left):
            held.ends_ms = 0  # nobody can spend of it any more
        share = self.shares.get(held.limits[index].key)
        if share is not None:
            share.in_hand -= part.count
            if share.limit.kind == "w" and count < part.count:
                share.denied_ms = 0  # of a window a client is told not to come back: look again

    def unneeded(self, asking: Asking, now_ms: int) -> list[SliceDue]:
        """Slices to settle now, of limits that the store denies: their requests have ended."""
        found = []
        for limit, _ in asking.least:
            share = self.shares[limit.key]
            if limit.kind == "c" or share.denied_ms <= now_ms:
                continue
            for held, index in share.slices:
                if held.spare[index] and not (held.live or held.closing):
                    held.closing, held.ends_ms = True, 0
                    found.append(SliceDue("settle", held, tuple(held.due)))
        return found

    def due(self, now_ms: int) -> Iterator[SliceDue]:
        """The calls that should be made now."""
        for held in list(self._open.values()):
            if held.ends_ms <= now_ms and (not held.live or any(held.left)):
                held.closing = True
                yield SliceDue("trim" if held.live else "settle", held, tuple(held.due))
            elif now_ms - held.touched_ms >= TOUCH_MS:
                yield SliceDue("touch", held, tuple(held.measured))

    def done(self, due: SliceDue, now_ms: int) -> None:
        """A call was made."""
        held = due.slice
        if due.operation == "touch":
            held.touched_ms = now_ms
            return
        for index, kept in enumerate(due.counts):
            # A place that came free while the store was told is still charged there.
            held.left[index] = kept - held.due[index] if held.counts else 0
        if due.operation == "settle":
            self._open.pop(held.rid, None)
        for limit in held.limits:
            share = self.shares.get(limit.key)
            if share is not None:
                share.slices = [each for each in share.slices if each[0] is not held]

    def prune(self, now_ms: int) -> None:
        """Forget limits that nobody asked for in a minute."""
        idle = [
            key
            for key, share in self.shares.items()
            if now_ms - share.asked_ms > IDLE_MS and not share.slices and not share.in_hand
        ]
        for key in idle:
            del self.shares[key]

    @property
    def open(self) -> int:
        """How many records are open at the store."""
        return len(self._open)
