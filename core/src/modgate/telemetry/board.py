"""What is known of each engine, and how far it may still be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

from modgate.api.vitals import UNKNOWN, Load, Signals, Vitals, weight_of

Reading = Load | Signals | bool
Heed = Callable[[str, Reading, float, float], None]


@dataclass(frozen=True, slots=True)
class Noted:
    """A reading, when it was made, and when the next was due.

    `whole_at`: when the engine last said all of it; in the head of a reply it says a part.
    """

    reading: Reading
    at: float
    every_s: float
    whole_at: float

    def weight(self, now: float) -> float:
        """How far it is believed."""
        return weight_of(now - self.at, self.every_s)


class Board:
    """The last reading of each kind, by the engine's identity.

    `heed` is told of each.
    """

    def __init__(self, heed: Heed | None = None) -> None:
        self._noted: dict[tuple[str, str], Noted] = {}
        self.heed = heed

    def note(self, identity: str, reading: Reading, now: float, every_s: float) -> None:
        """An engine, or what is below it, has answered."""
        kind = "load" if isinstance(reading, Load) else "well"
        kind = "signals" if isinstance(reading, Signals) else kind
        self._keep(identity, kind, Noted(reading, now, every_s, now))

    def remark(self, identity: str, load: Load, now: float, every_s: float) -> None:
        """An engine told some of its load in the head of a reply; the rest is as it said last, if
        fresh."""
        before = self._noted.get((identity, "load"))
        whole_at = now
        if before is not None and isinstance(before.reading, Load):
            if weight_of(now - before.whole_at, before.every_s) == 1:
                load, whole_at = _filled(load, before.reading), before.whole_at
            every_s = before.every_s
        self._keep(identity, "load", Noted(load, now, every_s, whole_at))

    def _keep(self, identity: str, kind: str, noted: Noted) -> None:
        self._noted[identity, kind] = noted
        if self.heed is not None:
            self.heed(identity, noted.reading, noted.at, noted.every_s)

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

    def keep(self, identities: Iterable[str]) -> None:
        """Forget all other engines."""
        kept = set(identities)
        self._noted = {key: each for key, each in self._noted.items() if key[0] in kept}

    def _fresh(self, identity: str, kind: str, now: float) -> tuple[Reading | None, float]:
        noted = self._noted.get((identity, kind))
        weight = 0.0 if noted is None else noted.weight(now)
        return (None, 0.0) if noted is None or weight == 0 else (noted.reading, weight)


def _filled(load: Load, before: Load) -> Load:
    missing = [each.name for each in fields(load) if getattr(load, each.name) is None]
    return replace(load, **{name: getattr(before, name) for name in missing})
