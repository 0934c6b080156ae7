"""What an engine says of its own load, as far as the pick heeds it.

The gateway knows what it sent itself, and more exactly than any page of metrics does.  What it
cannot know are strangers' calls and a full cache.

Source: algorithms.md 1.4 (step 5), 7 (staleness, foreign load).
"""

from __future__ import annotations

from modgate.api.vitals import Load, weight_of

FULL = 0.9  # of its cache: from here calls are put off, or put out again
NEVER = float("-inf")


class ReportedLoad:
    """One engine's.  Missing is unknown, and then nothing is corrected.

    `full`: its cache is.  `waiting`: calls that wait in it while it has more than it was sent by
    gateways that we know of; 0 = none, or all of them are known.  `at`: when it spoke last.
    """

    __slots__ = ("_every_s", "_kv_use", "_strange", "_waiting", "at", "full", "waiting")

    def __init__(self) -> None:
        self.full = False
        self.waiting = 0.0
        self._kv_use = 0.0
        self._waiting = 0.0
        self._strange = False
        self.at = NEVER
        self._every_s = 0.0

    def heard(self, load: Load, known: int, now: float, every_s: float) -> None:
        """It said so; `known`: calls that are in it as far as gateways know.

        A page is a moment old, and calls come and go: strangers count from the second time on.
        """
        waiting = load.waiting or 0.0
        strange = min(waiting, waiting + (load.running or 0.0) - known) >= 1
        self._waiting = waiting if strange and self._strange else 0.0
        self._strange = strange
        self._kv_use = load.kv_use or 0.0
        self.at, self._every_s = now, every_s
        self.fade(now)

    def fade(self, now: float) -> None:
        """What it said counts less with its age, until it is forgotten."""
        if self.at == NEVER:
            return
        weight = weight_of(now - self.at, self._every_s)
        self.full = self._kv_use * weight >= FULL
        self.waiting = self._waiting * weight
        if not weight:
            self._strange, self.at = False, NEVER
