"""How full limits are, in memory, and the rules by which they are charged.

A limit is of one of three kinds:

    b   a leaky bucket; its level is in unit x ms, and falls by `amount` each ms
    w   the counter of a calendar window; its level is in units
    c   a count of what is in hand; its level is in units

A reservation charges all of its limits or none.  Settling it may raise a level over what the limit
holds.  That is debt: the next requests wait until it has leaked away.

The script of the Redis store (quota.lua) follows the same rules.  Every number is an integer below
2^53, so that Lua, which counts in doubles, agrees bit for bit.

Source: algorithms.md 3.1, 3.2 and appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from modgate.api.auth import WhenDown

Kind = Literal["b", "w", "c"]

KEPT_MS = 600_000  # a settled record answers a late duplicate for ten minutes
WINDOW_KEPT_MS = 172_800_000  # a window's counter is kept for two days after its end
WAIT_FOR_SLOT_MS = 1000  # nobody knows when a place comes free: look again after this
SWEEP_MS = 1000
BACK_MS = 10_000  # a clock this much earlier was set back; by less, a message only came late


class _Known:
    """What follows from a limit's members, and is not written to files with them.

    `full`: the highest level that admits.  `each`: by how much a unit raises the level.
    """

    __slots__ = ("each", "full")
    each: int
    full: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(_Known):
    """One limit.

    `key`: names its level, and begins with the tenant's tag (`{acme}:tenant:llm.tokens:minute`).
    `amount`: how many units are admitted: per `period_ms` (kind b), until the epoch time
    `period_ms` (kind w), or at one time (kind c).
    `burst`: of a bucket, the units that an empty one admits at once.
    `when_down`: what is admitted while a shared store does not answer.
    """

    key: str
    kind: Kind
    amount: int
    period_ms: int = 0
    burst: int = 0
    when_down: WhenDown = "local_share"

    def __post_init__(self) -> None:
        bucket = self.kind == "b"
        object.__setattr__(self, "each", self.period_ms if bucket else 1)
        object.__setattr__(self, "full", self.burst * self.period_ms if bucket else self.amount)

    def room(self, level: int) -> int:
        """How many units can be taken at this level; fewer than none when there is debt."""
        return (self.full - level) // self.each

    def raised(self, level: int, count: int) -> int:
        """The level after `count` more units, of a bucket at most as many as it holds."""
        rise = count * self.each
        return level + (rise if rise < self.full or self.kind != "b" else self.full)

    def wait_ms(self, level: int, now_ms: int) -> int:
        """How long until a reservation is admitted that would raise the level to this; 0 = now."""
        over = level - self.full
        if over <= 0:
            return 0
        if self.kind == "b":
            return -(-over // (self.amount or 1))
        return max(1, self.period_ms - now_ms) if self.kind == "w" else WAIT_FOR_SLOT_MS


Wanted = Sequence[tuple[Limit, int]]  # limits, and how many units of each


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing was reserved.

    `wait_ms`: how long until it could be.  `index`: of the limit that takes longest.
    """

    wait_ms: int
    index: int


@dataclass(slots=True)
class _Level:
    kind: Kind
    value: int
    at_ms: int  # when it had that value
    gone_ms: int  # when it can be forgotten

    def at(self, ahead_ms: int) -> _Level:
        """The same level, in the time of a clock that is so far ahead."""
        return _Level(self.kind, self.value, self.at_ms + ahead_ms, self.gone_ms + ahead_ms)


@dataclass(slots=True)
class _Record:
    state: Literal["open", "settled", "reaped"]
    limits: tuple[Limit, ...]
    charged: list[int]
    measured: list[int]
    ends_ms: int


@dataclass(slots=True)
class Fill:
    """How full limits are, by key; what levels of every account and store have in common.

    `now_ms` is an argument everywhere.  When time goes back a little, nothing leaks.  When the
    clock was set back, what was charged leaks from then on, and not only after the old time is
    reached again.
    """

    _levels: dict[str, _Level] = field(default_factory=dict)
    _swept_ms: int = 0

    def level(self, limit: Limit, now_ms: int) -> int:
        """How full a limit is now: in unit x ms for buckets, in units for the others."""
        found = self._levels.get(limit.key)
        if found is None:
            return 0
        if limit.kind != "b" or now_ms <= found.at_ms:
            if limit.kind == "b" and found.at_ms - now_ms > BACK_MS:
                found.gone_ms -= found.at_ms - now_ms
                found.at_ms = now_ms
            return found.value
        left = found.value - (now_ms - found.at_ms) * limit.amount
        return left if left > 0 else 0

    def look(self, limits: Sequence[Limit], now_ms: int) -> None:
        """See `Account`: what lies here is always known."""

    def _store(self, limit: Limit, value: int, now_ms: int) -> None:
        kind = limit.kind
        if value <= 0 and kind != "w":
            self._levels.pop(limit.key, None)
            return
        found = self._levels.get(limit.key)
        if found is None:
            found = self._levels[limit.key] = _Level(kind, 0, now_ms, 0)
        if kind != "b" or now_ms > found.at_ms:
            found.at_ms = now_ms
        found.value = value if value > 0 else 0
        if kind == "w":
            found.gone_ms = limit.period_ms + WINDOW_KEPT_MS
        else:
            found.gone_ms = found.at_ms + -(-value // (limit.amount or 1)) + 1000

    def _add(self, limit: Limit, delta: int, now_ms: int) -> None:
        if delta:
            self._store(limit, self.level(limit, now_ms) + delta * limit.each, now_ms)

    def charge(self, limit: Limit, count: int, now_ms: int) -> None:
        """Charge without a reservation, whatever is left; below zero gives back."""
        self._sweep(now_ms)
        self._add(limit, count, now_ms)

    def put(self, limit: Limit, level: int, now_ms: int) -> None:
        """Set a level, which was learned elsewhere."""
        self._store(limit, level, now_ms)

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until `count` more would be admitted; 0 = now."""
        return limit.wait_ms(limit.raised(self.level(limit, now_ms), count), now_ms)

    def take(self, wanted: Wanted, now_ms: int) -> Denied | None:
        """Charge all or none, each bucket at most as much as it holds; None = charged."""
        if not -BACK_MS < now_ms - self._swept_ms < SWEEP_MS:
            self._sweep(now_ms)
        longest_ms = at = 0
        charged = []
        for index, (limit, count) in enumerate(wanted):
            level = limit.raised(self.level(limit, now_ms), count)
            if level > limit.full and (wait_ms := limit.wait_ms(level, now_ms)) > longest_ms:
                longest_ms, at = wait_ms, index
            if count:
                charged.append((limit, level))
        if longest_ms:
            return Denied(longest_ms, at)
        for limit, level in charged:
            self._store(limit, level, now_ms)
        return None

    def _sweep(self, now_ms: int) -> None:
        """Once a second, forget what has leaked away and what nobody asks for any more."""
        if -BACK_MS < now_ms - self._swept_ms < SWEEP_MS:
            return
        self._swept_ms = now_ms
        for key in [key for key, level in self._levels.items() if level.gone_ms <= now_ms]:
            if self._levels[key].kind != "c":
                del self._levels[key]


def taken(limit: Limit, count: int) -> int:
    """How many units a reservation of `count` charges: of a bucket at most as many as it holds."""
    return limit.burst if limit.kind == "b" and count > limit.burst else count


FORMAT = 1  # of the files that `packed` makes
_Written = tuple[Literal[1], dict[str, _Level], dict[str, _Record]]
NO_RECORDS: Mapping[str, _Record] = {}


def packed(levels: Mapping[str, _Level], records: Mapping[str, _Record] = NO_RECORDS) -> bytes:
    """Levels and open records as bytes."""
    return msgspec.msgpack.encode((FORMAT, levels, records))


def unpacked(data: bytes, now_ms: int) -> tuple[dict[str, _Level], dict[str, _Record]]:
    """The levels and records of what `packed` made.  msgspec.MsgspecError for anything else.

    Levels that were written by a clock ahead of this one leak from now on.
    """
    _, levels, records = msgspec.msgpack.decode(data, type=_Written)
    for level in levels.values():
        if level.kind == "b" and level.at_ms > now_ms:
            level.gone_ms -= level.at_ms - now_ms
            level.at_ms = now_ms
    return levels, records


@dataclass(slots=True)
class Levels(Fill):
    """Levels for a store: with a record of each reservation, by whose id others settle it."""

    _records: dict[str, _Record] = field(default_factory=dict)

    def owe(self, rid: str, owed: Wanted, now_ms: int) -> bool:
        """Charge (or give back) what was used elsewhere; False for a `rid` that was said before."""
        self._sweep(now_ms)
        if rid in self._records:
            return False
        for limit, count in owed:
            self._add(limit, count, now_ms)
        self._records[rid] = _Record("settled", (), [], [], now_ms + KEPT_MS)
        return True

    def reserve(self, rid: str, wanted: Wanted, now_ms: int, ttl_ms: int) -> Denied | None:
        """Charge all or none; None = reserved.  The same `rid` again charges nothing more."""
        self._sweep(now_ms)
        if rid in self._records:
            return None
        if (denied := self.take(wanted, now_ms)) is not None:
            return denied
        limits = tuple([limit for limit, _ in wanted])
        charged = [taken(limit, count) for limit, count in wanted]
        self._records[rid] = _Record("open", limits, charged, [0] * len(limits), now_ms + ttl_ms)
        return None

    def touch(self, rid: str, measured: Sequence[int], now_ms: int, ttl_ms: int) -> bool:
        """The request lives, and has used so much; False when it was reaped or settled."""
        record = self._records.get(rid)
        if record is None or record.state != "open":
            return False
        record.measured = list(measured)
        record.ends_ms = now_ms + ttl_ms
        return True

    def trim(self, rid: str, kept: Sequence[int], now_ms: int) -> bool:
        """Give back what is charged above `kept`; False when the record is not open."""
        record = self._records.get(rid)
        if record is None or record.state != "open":
            return False
        for index, most in enumerate(kept):
            self._set(record, index, min(record.charged[index], most), now_ms)
        return True

    def settle(self, rid: str, actual: Sequence[int], now_ms: int) -> bool:
        """Charge what was used, and give back what is in hand; False when it was settled."""
        record = self._records.get(rid)
        if record is None or record.state == "settled":
            return False
        self._close(record, actual, now_ms)
        record.state = "settled"
        record.ends_ms = now_ms + KEPT_MS
        return True

    def _close(self, record: _Record, actual: Sequence[int], now_ms: int) -> None:
        for index, limit in enumerate(record.limits):
            self._set(record, index, 0 if limit.kind == "c" else actual[index], now_ms)

    def _set(self, record: _Record, index: int, final: int, now_ms: int) -> None:
        if delta := final - record.charged[index]:
            self._add(record.limits[index], delta, now_ms)
            record.charged[index] = final

    def reap(self, now_ms: int, at_most: int = 100, tag: str = "") -> int:
        """Close the records that were not touched in time, for what was last measured of them.

        `tag`: only records whose id begins so.  The earliest come first, `at_most` in one call, and
        the answer is how many there were.  A settle that comes after all still corrects them.
        """
        late = sorted(
            (record.ends_ms, rid)
            for rid, record in self._records.items()
            if record.state == "open" and record.ends_ms <= now_ms and rid.startswith(tag)
        )
        for _, rid in late[:at_most]:
            record = self._records[rid]
            self._close(record, record.measured, now_ms)
            record.state = "reaped"
            record.ends_ms = now_ms + KEPT_MS
        return len(late[:at_most])

    def forget(self, rid: str) -> None:
        """Drop a settled record, where nobody will ask for it again."""
        self._records.pop(rid, None)

    def _sweep(self, now_ms: int) -> None:
        """Once a second, forget what has leaked away and what nobody asks for any more."""
        if -BACK_MS < now_ms - self._swept_ms < SWEEP_MS:
            return
        Fill._sweep(self, now_ms)
        done = [r for r, v in self._records.items() if v.state != "open" and v.ends_ms <= now_ms]
        for rid in done:
            del self._records[rid]

    def written(self) -> bytes:
        """The levels and open records as bytes for `read`."""
        records = {rid: record for rid, record in self._records.items() if record.state == "open"}
        return packed(self._levels, records)

    @classmethod
    def read(cls, data: bytes, now_ms: int) -> Levels:
        """Read what `written` made.  msgspec.MsgspecError for anything else."""
        levels, records = unpacked(data, now_ms)
        return cls(_levels=levels, _records=records)

    def sizes(self) -> tuple[int, int]:
        """How many levels and records there are."""
        return len(self._levels), len(self._records)
