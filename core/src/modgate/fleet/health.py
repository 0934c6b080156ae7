"""Whether an engine answers at all: ejection, the way back, and slow start.

Passive: outcomes of real calls.  Only what is the engine's fault counts (no connection, 5xx, no
answer in time, no reply); what a client did wrong ejects nobody.

Source: algorithms.md 5.2, 1.3 (probation); field.md row 15.
"""

from __future__ import annotations

from collections.abc import Callable

from modgate.fleet.counters import Counters, wilson

IN_A_ROW = 5
SAMPLES, FAILS_ABOVE, FAILS_Z = 20, 0.20, 1.645
EJECTED_S, EJECTED_AT_MOST_S, JITTER = 30.0, 300.0, 0.10
FORGIVEN_S = 600.0
PROBATION, PROBATION_CALLS, DOUBLES_EACH = 20, 4, 10
SATURATED_AT_MOST_S = 30.0


class Health:
    """One engine's.

    `until`: it is left alone till then.  `refused`: its last failure was that nobody listens.
    `cap`: calls that it is given at once while it is new or came back; None = its own limit.
    `calm`: neither of all that.
    """

    __slots__ = (
        "_ejected",
        "_ejections",
        "_good",
        "_left_at",
        "_row",
        "calm",
        "cap",
        "errors",
        "refused",
        "until",
    )

    def __init__(self) -> None:
        self.errors = Counters()
        self.until = float("-inf")
        self.refused = False
        self.calm = False
        self.cap: int | None = PROBATION_CALLS
        self._row = 0
        self._good = 0
        self._ejections = 0
        self._ejected = False
        self._left_at = 0.0

    def succeeded(self, now: float) -> None:
        """A call was answered."""
        self.errors.add(now, 1, 0)
        self._row = 0
        self.refused = False
        self._ejected = False
        if self.cap is not None:
            self._good += 1
            doublings = self._good // DOUBLES_EACH
            self.cap = PROBATION_CALLS << doublings if self._good < PROBATION else None
        self.calm = self.cap is None and self.until <= now

    def failed(self, now: float, *, refused: bool) -> bool:
        """A call failed, and whose fault it was is clear; whether the engine is to be ejected."""
        self.errors.add(now, 1, 1)
        self.refused = refused
        self._row += 1
        return self.until <= now and (self._row >= IN_A_ROW or self._fails())

    def _fails(self) -> bool:
        errors = self.errors
        return errors.n >= SAMPLES and wilson(errors.bad, errors.n, FAILS_Z)[0] > FAILS_ABOVE

    def eject(self, now: float, rng: Callable[[], float]) -> None:
        """Leave it alone for a while, for longer each time; then it is tried with one call."""
        if self._ejections:
            healthy_s = max(0.0, now - self._left_at)
            self._ejections = max(0, self._ejections - int(healthy_s / FORGIVEN_S))
        self._ejections += 1
        seconds = min(EJECTED_S * 2 ** min(self._ejections - 1, 10), EJECTED_AT_MOST_S)
        self.until = now + seconds * (1 + JITTER * (2 * rng() - 1))
        self._left_at = self.until
        self._ejected = True
        self.calm = False
        self._row = IN_A_ROW - 1  # one more failure on its return is enough
        self._good = 0
        self.cap = 1
        self.errors.clear()

    def saturated(self, now: float, seconds: float) -> None:
        """It said itself that it has no room, and for how long."""
        self.until = max(self.until, now + min(seconds, SATURATED_AT_MOST_S))
        self.calm = False

    def state(self, now: float) -> str:
        """In a word, for people."""
        if self.until > now:
            return "ejected" if self._ejected else "saturated"
        return "probation" if self.cap is not None else "healthy"
