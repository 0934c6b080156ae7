"""Whether an engine answers at all: ejection, the way back, and slow start.

Passive: outcomes of real calls.  Only what is the engine's fault counts (no connection, 5xx, no
answer in time, no reply); what a client did wrong ejects nobody.  A probe ejects nobody either: it
bears out what a call met, and tells that an engine is back.

Source: algorithms.md 5.2, 1.3 (probation), 7 (probes); field.md row 15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from modgate.api.vitals import STALE, Load
from modgate.fleet.changes import Changes
from modgate.fleet.counters import Counters, wilson
from modgate.fleet.reported_load import ReportedLoad

IN_A_ROW = 5
MUTE_IN_A_ROW = 2
SAMPLES, FAILS_ABOVE, FAILS_Z = 20, 0.20, 1.645
EJECTED_S, EJECTED_AT_MOST_S, JITTER = 30.0, 300.0, 0.10
FORGIVEN_S = 600.0
PROBATION, PROBATION_CALLS, DOUBLES_EACH = 20, 4, 10
SATURATED_AT_MOST_S = 30.0
PROBES, PROBES_AGREE = 3, 2

Word = Literal["unknown", "probation", "healthy", "ejected", "saturated"]


class Health:
    """One engine's.

    `until`: it is left alone till then.  `refused`: its last failure was that nobody listens.
    `cap`: calls that it is given at once while it is new or came back; None = its own limit.
    `reported`: its own word on its load.  `sound`: neither of all that; `calm`: and it says nothing
    to heed.  `changes`: its engine's.
    """

    __slots__ = (
        "_alive_at",
        "_ejected",
        "_ejections",
        "_full",
        "_good",
        "_left_at",
        "_mute",
        "_probed_until",
        "_probes",
        "_row",
        "_row_before",
        "_sick",
        "calm",
        "cap",
        "changes",
        "errors",
        "refused",
        "reported",
        "sound",
        "until",
    )

    def __init__(self) -> None:
        self.errors = Counters()
        self.until = float("-inf")
        self.refused = False
        self.calm = self.sound = False
        self.cap: int | None = PROBATION_CALLS
        self.reported = ReportedLoad()
        self.changes = Changes()
        self._probes: tuple[bool, ...] = ()
        self._probed_until = float("-inf")
        self._sick = False
        self._row = self._row_before = 0
        self._good = 0
        self._ejections = 0
        self._ejected = False
        self._full = 0
        self._left_at = 0.0
        self._alive_at = float("-inf")
        self._mute = 0

    @property
    def failing(self) -> bool:
        """Whether the last call that tells failed."""
        return self._row > 0

    def succeeded(self, now: float) -> bool:
        """A call was answered; whether it is the first since an ejection."""
        self.errors.add(now, 1, 0)
        self._row_before = self._row
        self._row = self._full = 0
        self.refused = back = False
        if self.cap is not None:
            if self._ejected and self.until <= now:
                self._ejected, back = False, True
            self._good += 1
            doublings = self._good // DOUBLES_EACH
            self.cap = PROBATION_CALLS << doublings if self._good < PROBATION else None
            self._settle(now)
        elif not self.calm:
            self._settle(now)
        return back

    def _settle(self, now: float) -> None:
        reported = self.reported
        self.sound = self.cap is None and self.until <= now
        self.calm = self.sound and not (reported.full or reported.waiting)
        self.changes.tell()

    def failed(self, now: float, *, refused: bool) -> bool:
        """A call failed, and whose fault it was is clear; whether the engine is to be ejected."""
        self.errors.add(now, 1, 1)
        self.refused = refused
        self._row += 1
        return self._enough(now)

    def spoilt(self, now: float) -> bool:
        """A reply that counted as an answer can be used by nobody; as `failed`."""
        self.errors.add(now, 0, 1)
        self._row = self._row_before + 1
        return self._enough(now)

    def _enough(self, now: float) -> bool:
        enough = 1 if self.unwell(now) or self._mute >= MUTE_IN_A_ROW else IN_A_ROW
        return self.until <= now and (self._row >= enough or self._fails())

    def alive(self, now: float) -> None:
        """A first event, or a whole reply, came from it."""
        self._alive_at = now
        self._mute = 0

    def mute_since(self, began: float) -> None:
        """A call that began then was given up, and nothing had come of it.

        That counts for more than a failure if no other call at this engine heard anything since,
        either.
        """
        if self._alive_at < began:
            self._mute += 1

    def unwell(self, now: float) -> bool:
        """Whether its health path says so, lately and more than once."""
        return now < self._probed_until and self._probes.count(False) >= PROBES_AGREE

    def probed(self, well: bool, now: float, every_s: float) -> None:
        """Its health path answered, or did not.

        Two of three that are well end an ejection early, where probes have a say: an engine that
        nobody could reach, or that was not well by its own word, is back; one that answers calls
        with errors, and its health path well all the while, is not.  One that is not well, and of
        which no call has heard either, is given one at a time while others are free: a call of no
        class may wait there for minutes before it is known to have failed.
        """
        self._probes = (*self._probes[1 - PROBES :], well)
        self._probed_until = now + STALE * every_s
        self._sick = self._sick or not well
        back = well and self._probes.count(True) >= PROBES_AGREE
        if back and self.until > now and self._ejected and (self.refused or self._sick):
            self.until = self._left_at = now
            self.changes.tell()
        if not well and self.unwell(now) and self._alive_at < now - PROBES * every_s:
            self.cap, self._good = 1, 0
            self._settle(now)

    def heard(self, load: Load, known: int, now: float, every_s: float) -> None:
        """It told of its load; see `ReportedLoad`."""
        self.reported.heard(load, known, now, every_s)
        self._settle(now)

    def fade(self, now: float) -> None:
        """Each second: what it told grows old."""
        self.reported.fade(now)
        self._settle(now)

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
        self._sick, self._probes = self._probes[-1:] == (False,), ()
        self.calm = self.sound = False
        self._row = IN_A_ROW - 1  # one more failure on its return is enough
        self._mute = self._good = 0
        self.cap = 1
        self.errors.clear()
        self.changes.tell()

    def saturated(self, now: float, seconds: float) -> None:
        """It said itself that it has no room, and for how long.

        One that says so again as soon as it is asked is left alone twice as long each time.
        """
        if self.until <= now:
            self._ejected = False
            self._full += 1
        longer = seconds * 2 ** min(max(0, self._full - 1), 10)
        self.until = max(self.until, now + min(longer, SATURATED_AT_MOST_S))
        self.calm = self.sound = False
        self.changes.tell()

    def state(self, now: float) -> Word:
        """In a word, for people."""
        if self.until > now:
            return "ejected" if self._ejected else "saturated"
        if self.cap is None:
            return "healthy"
        return "probation" if self.errors.seen else "unknown"
