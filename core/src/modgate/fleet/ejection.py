"""Which engines get no calls for a while, because they failed those that they got.

Only what is the engine's fault counts against it.  An engine that cannot be reached is out in any
case; one that answers badly only while at most half of its pool is.

Source: algorithms.md 5.2; field.md row 15.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from modgate.errors import BadReply, GatewayError, ModelLoading, Overloaded, Unreached, Upstream
from modgate.fleet.pool import Pool
from modgate.fleet.rng import Rng
from modgate.fleet.slots import Seat

EJECTED_AT_MOST = 0.5  # of a pool

log = logging.getLogger(__name__)


class Ejection:
    """Ejects the engines of one snapshot.  `pools_of`: by backend, the pools that it serves in."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.pools_of: Mapping[str, Sequence[Pool]] = {}

    def failed(self, seat: Seat, error: GatewayError | None, now: float) -> None:
        """A call at this seat failed.  An engine that cannot be reached is ejected in any case."""
        health = seat.health
        match error:
            case Upstream():
                refused = isinstance(error, Unreached)
                due = health.failed(now, refused=refused)
                if due and (refused or self._may_eject(seat, now)):
                    self._eject(seat, now, error.code)
            case Overloaded() | ModelLoading() if error.retry_after_s is not None:
                health.saturated(now, error.retry_after_s)
            case _:
                pass

    def spoilt(self, seat: Seat, now: float) -> None:
        """A reply of this seat ended well, but is unusable."""
        if seat.health.spoilt(now) and self._may_eject(seat, now):
            self._eject(seat, now, BadReply.code)

    def _eject(self, seat: Seat, now: float, reason: str) -> None:
        seat.health.eject(now, self._rng.random)
        words = {"backend": seat.backend, "reason": reason}
        log.warning("backend ejected", extra={**words, "seconds": round(seat.health.until - now)})

    def _may_eject(self, seat: Seat, now: float) -> bool:
        """Whether at most half of each of its pools is out with it.

        An engine that left meanwhile is in no pool.
        """
        return all(
            sum(each.health.until > now for each in pool.seats) + 1
            <= EJECTED_AT_MOST * len(pool.seats)
            for pool in self.pools_of.get(seat.backend, ())
        )
