"""One admitted request: what it holds, and what its reservations are charged."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from modgate.api.auth import Caller
from modgate.limits.levels import Denied, Limit, Wanted
from modgate.limits.rates import CallerRates, MetRate, Toll, counts_requests
from modgate.limits.state import Held

Mark = tuple[int, int, int, int]  # lengths of reservations, shadows, tolls and asides


class Aside(msgspec.Struct, eq=False):
    """One call that is charged apart: its model may have other limits than the plan's.

    `toll`: the limits that it met.  `names`: the units that were reserved for it.  `shadows`: as of
    an Admission.  `used`: what it is known to have used, by unit; `part`: how much of that is in
    what the request used, when that was measured last.  `asked`: until it is answered its reserve
    stands, should the gateway die.
    """

    toll: Toll
    names: Sequence[str] = ()
    shadows: list[tuple[Limit, str, int]] = []
    used: Mapping[str, int] = {}
    part: Mapping[str, int] = {}
    asked: bool = False


class Reservation(msgspec.Struct, eq=False):
    """What was charged at one time, all of it or nothing.

    `rid`: its id in the account, the request's and a number.  `names`: of each limit in `wanted`
    its unit by full name.  `before`: the levels that it met, when one of them was too high.
    `aside`: that it is for; None: the plan's own calls.
    """

    rid: tuple[int, int]
    names: Sequence[str]
    wanted: Wanted
    before: Sequence[int] = ()
    aside: Aside | None = None


class Admission(msgspec.Struct, eq=False):
    """A request that was admitted: what it holds, and what was reserved for it.

    `terms`: the limits that it meets, fixed for as long as it lives.
    `held`: what it holds of what is bounded at once.
    `requests`: 1 for each name that it counts as a request of (`requests`, `llm.requests`).
    `tolls`: the limits that its plan's calls met.
    `reservations`: those that stand; `made`: how many ever were.
    `asides`: its own, which neither `tolls` nor `shadows` know.
    `shadows`: what limits in shadow were charged: the limit, its unit, how many.
    `would_refuse`: limits in shadow that would have refused it, as the receipt names them.
    `refused`: the reservation that one of its limits had no room for.
    """

    caller: Caller
    rid: int
    terms: CallerRates
    held: Held = {}
    requests: dict[str, int] = {}
    tolls: list[Toll] = []
    reservations: list[Reservation] = []
    asides: list[Aside] = []
    shadows: list[tuple[Limit, str, int]] = []
    would_refuse: list[str] = []
    made: int = 0
    settled: bool = False
    refused: tuple[Reservation, Denied] | None = None

    def reserved(self, reservation: Reservation) -> None:
        """One more reservation was made."""
        self.made += 1
        self.reservations.append(reservation)
        if reservation.aside is not None:
            reservation.aside.names = reservation.names

    def noted(self, limit: str) -> None:
        """A limit in shadow would refuse it; it may say so many times, and is noted once."""
        if limit not in self.would_refuse:
            self.would_refuse.append(limit)

    def mark(self) -> Mark:
        """How much was charged so far, so that `Limiter.take_back` can give back what follows."""
        return len(self.reservations), len(self.shadows), len(self.tolls), len(self.asides)

    def forget(self, mark: Mark) -> None:
        """What was charged since `mark` was given back."""
        reservations, shadows, tolls, asides = mark
        del self.reservations[reservations:], self.shadows[shadows:]
        del self.tolls[tolls:], self.asides[asides:]

    def own(self, units: Mapping[str, int] | None) -> dict[str, int] | None:
        """What its plan used by unit, and the requests that it counts as.

        `units`: what the request used.  What an aside used is its own `part`; both sum to that.
        None: nobody counted what the plan used; what asides used is known all the same.
        """
        if units is None:
            for aside in self.asides:
                aside.part = aside.used
            return None
        left = {**units, **self.requests}
        for aside in self.asides:
            aside.part = {name: min(n, left.get(name, 0)) for name, n in aside.used.items()}
            for name, count in aside.part.items():
                left[name] = left.get(name, 0) - count
        return left

    def measured(self, reservation: Reservation, left: dict[str, int] | None) -> list[int]:
        """What a reservation is charged, of each of its limits.

        `left`: what the plan used and no earlier reservation was charged for, by unit; what is
        charged now is taken off it.  Where a unit is in several reservations, all of them are of
        the same limits, so the first one takes it all, even as debt.  A request is no such unit:
        it is one for each limit that counts it, of all models or of its own.  None: nobody
        counted, and what was reserved stands.
        """
        if reservation.aside is not None:
            return [reservation.aside.part.get(name, 0) for name in reservation.names]
        if left is None:
            return [count for _, count in reservation.wanted]
        counts = [left.get(name, 0) for name in reservation.names]
        for name in reservation.names:
            if name not in self.requests:
                left[name] = 0
        return counts

    def shadowed(self, left: Mapping[str, int] | None) -> list[tuple[Limit, int]]:
        """What limits in shadow are charged beyond what they were, each in all what was used.

        `left`: as `own` made it, or None.
        """
        found = _owed(self.shadows, left) if left is not None else []
        for aside in self.asides:
            found += _owed(aside.shadows, aside.part)
        return found

    def unforeseen(self, left: Mapping[str, int] | None) -> list[tuple[Limit, int]]:
        """What to charge for units that were used and of which nothing was reserved.

        `left`: as `measured` left it, or None.  One entry for each limit that the plan, or a side
        call, met with such a unit.  A request is no such unit: who was refused before it was
        reserved would owe one each time, and might never be let in again.
        """
        hard: list[MetRate] = [*self.terms.units.hard]
        shadow: list[MetRate] = [*self.terms.units.shadow]
        for toll in self.tolls:
            hard += toll.hard
            shadow += toll.shadow
        found = [*self._lacking(hard, (), left or {})]
        found += self._lacking(shadow, _units(self.shadows), left or {})
        for aside in self.asides:
            found += self._lacking(aside.toll.hard, aside.names, aside.part)
            found += self._lacking(aside.toll.shadow, _units(aside.shadows), aside.part)
        return found

    def _lacking(
        self, met: Iterable[MetRate], known: Container[str], left: Mapping[str, int]
    ) -> Iterable[tuple[Limit, int]]:
        found = {}
        for each in met:
            unit = each.rate.unit
            if unit not in known and not counts_requests(unit) and (count := left.get(unit)):
                found[each.limit.key] = (each.limit, count)
        return found.values()


def _units(shadows: Iterable[tuple[Limit, str, int]]) -> list[str]:
    return [name for _, name, _ in shadows]


def _owed(
    shadows: Iterable[tuple[Limit, str, int]], left: Mapping[str, int]
) -> list[tuple[Limit, int]]:
    """What each limit is charged beyond what it was: one that was charged often, once."""
    due: dict[str, tuple[Limit, int]] = {}
    for limit, name, count in shadows:
        _, owed = due.get(limit.key, (limit, left.get(name, 0)))
        due[limit.key] = limit, owed - count
    return list(due.values())
