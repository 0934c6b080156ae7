"""What is known of each engine, and how far it may still be believed.

Source: algorithms.md 7 (staleness).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modgate.api.vitals import UNKNOWN, Load, Signals, Vitals

FRESH, STALE = 2.0, 5.0  # in intervals
ASKED = ("load", "signals", "well")
Reading = Load | Signals | bool


@dataclass(frozen=True, slots=True)
class Noted:
    """A reading, when it was made, and when the next was due."""

    reading: Reading
    at: float
    every_s: float

    def weight(self, now: float) -> float:
        """1 for two intervals, then less and less, 0 from five."""
        if self.every_s <= 0:
            return 0.0
        age = (now - self.at) / self.every_s
        return min(1.0, max(0.0, (STALE - age) / (STALE - FRESH)))


class Board:
    """The last reading of each kind, by the engine's identity."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], Noted] = {}

    def note(self, identity: str, reading: Reading, now: float, every_s: float) -> None:
        """An engine, or what is below it, has answered."""
        kind = "load" if isinstance(reading, Load) else "well"
        kind = "signals" if isinstance(reading, Signals) else kind
        self._noted[identity, kind] = Noted(reading, now, every_s)

    def vitals(self, identity: str, now: float) -> Vitals:
        """What is known now."""
        load, load_weight = self._fresh(identity, "load", now)
        signals, signals_weight = self._fresh(identity, "signals", now)
        well, _ = self._fresh(identity, "well", now)
        if load is None and signals is None and well is None:
            return UNKNOWN
        return Vitals(
            load=load if isinstance(load, Load) else None,
            load_weight=load_weight,
            signals=signals if isinstance(signals, Signals) else None,
            signals_weight=signals_weight,
            well=well if isinstance(well, bool) else None,
        )

    def age_s(self, identity: str, kind: str, now: float) -> float | None:
        """Seconds since a reading of this kind; None when there was none."""
        noted = self._noted.get((identity, kind))
        return None if noted is None else now - noted.at

    def keep(self, identities: Iterable[str]) -> None:
        """Forget all other engines."""
        kept = set(identities)
        self._noted = {key: each for key, each in self._noted.items() if key[0] in kept}

    def _fresh(self, identity: str, kind: str, now: float) -> tuple[Reading | None, float]:
        noted = self._noted.get((identity, kind))
        weight = 0.0 if noted is None else noted.weight(now)
        return (None, 0.0) if noted is None or weight == 0 else (noted.reading, weight)
