"""Where a gateway's limits are charged: levels of its own, or shares of a store that others use."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from modgate.limits.levels import Denied, Fill, Limit, Wanted, packed, taken, unpacked

WORTH_MS = 60_000  # what will have leaked away by then is not written down


class Account(Protocol):
    """What a limiter asks of the levels, whoever has them.

    `rid` tells one reservation from another.  Counts are in each limit's own unit.  `now_ms` is
    epoch time that never jumps.  A method that may need what must be awaited first raises `Miss`
    (shared.py); the caller fetches it and calls again.
    """

    def level(self, limit: Limit, now_ms: int) -> int:
        """How full a limit is: in unit x ms for buckets, in units for the others."""
        ...

    def wait_ms(self, limit: Limit, count: int, now_ms: int) -> int:
        """How long until `count` more would be admitted; 0 = now."""
        ...

    def look(self, limits: Sequence[Limit], now_ms: int) -> None:
        """Make sure that the levels are known as they are now, or raise Miss."""
        ...

    def reserve(self, rid: Hashable, wanted: Wanted, now_ms: int) -> Denied | None:
        """Charge all or none; None = reserved.  It may raise Miss."""
        ...

    def charge(self, limit: Limit, count: int, now_ms: int) -> None:
        """Charge without a reservation, whatever is left; below zero gives back."""
        ...

    def touch(self, rid: Hashable, measured: Sequence[int]) -> None:
        """The request lives, and has used so much of each limit: its charge if the gateway dies."""
        ...

    def settle(self, rid: Hashable, wanted: Wanted, actual: Sequence[int], now_ms: int) -> None:
        """Charge what was used in place of `wanted`, which was reserved.  Call it once."""
        ...


@dataclass(slots=True)
class OwnAccount(Fill):
    """Levels that no other gateway charges; an `Account`."""

    _open: dict[Hashable, Wanted] = field(default_factory=dict)  # reservations that live
    _measured: dict[Hashable, Sequence[int]] = field(default_factory=dict)  # of those touched

    def reserve(self, rid: Hashable, wanted: Wanted, now_ms: int) -> Denied | None:
        """See `Account`."""
        denied = self.take(wanted, now_ms)
        if denied is None:
            self._open[rid] = wanted
        return denied

    def touch(self, rid: Hashable, measured: Sequence[int]) -> None:
        """See `Account`."""
        if rid in self._open:
            self._measured[rid] = measured

    def settle(self, rid: Hashable, wanted: Wanted, actual: Sequence[int], now_ms: int) -> None:
        """See `Account`."""
        self._open.pop(rid, None)
        if self._measured:
            self._measured.pop(rid, None)
        for at, (limit, count) in enumerate(wanted):
            if (
                used := actual[at]
            ) != count or count > limit.burst:  # else the level is right as it is
                self._add(limit, used - taken(limit, count), now_ms)

    def sizes(self) -> tuple[int, int]:
        """How many levels and open reservations there are."""
        return len(self._levels), len(self._open)

    def written(self, now_ms: int, ahead_ms: int = 0) -> bytes:
        """The levels as bytes for `read`, without those that will have leaked in a minute.

        `ahead_ms`: is added to the times in them, for a reader whose clock is so far ahead.
        They are as if the gateway died now: requests in hand are charged what was last measured of
        them, or else their reserve.
        """
        until_ms = now_ms + WORTH_MS
        levels = {k: v for k, v in self._levels.items() if v.gone_ms > until_ms}
        kept = Fill(levels)
        for rid, measured in self._measured.items():
            for (limit, count), used in zip(self._open[rid], measured, strict=True):
                if (level := levels.get(limit.key)) is not None:
                    levels[limit.key] = replace(level)  # the gateway goes on with its own
                    kept.charge(limit, used - taken(limit, count), now_ms)
        if ahead_ms:
            levels = {key: level.at(ahead_ms) for key, level in levels.items()}
        return packed(levels)

    @classmethod
    def read(cls, data: bytes, now_ms: int) -> OwnAccount:
        """Read what `written` made.  msgspec.MsgspecError for anything else."""
        levels, _ = unpacked(data, now_ms)
        return cls(levels)
