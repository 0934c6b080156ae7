"""A request that was admitted: what it holds, and what its reservations are charged."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from modgate.api.auth import Caller
from modgate.limits.levels import Denied, Limit, Wanted
from modgate.limits.rates import Met, Terms, Toll
from modgate.limits.state import Held

Mark = tuple[int, int, int]


class Part(msgspec.Struct, eq=False):
    """One reservation: what was wanted of each limit, and of which unit.

    `before`: the levels that it met, where one of them was too high.
    """

    rid: tuple[int, int]
    names: Sequence[str]
    wanted: Wanted
    before: Sequence[int] = ()


class Admission(msgspec.Struct, eq=False):
    """A request that was admitted: what it holds and what was reserved for it.

    `terms`: its limits, as they are for as long as it lives.  `requests`: 1 by each of the names
    that it counts as one of.  `tolls`: what its calls meet.  `parts`: its reservations, `made` of
    them ever; `last`: that of a unit, and `split`: a unit has several.  `refused`: the reservation
    that one of its limits had no room for.
    """

    caller: Caller
    rid: int
    terms: Terms
    held: Held = {}
    requests: dict[str, int] = {}
    tolls: list[Toll] = []
    parts: list[Part] = []
    last: dict[str, Part] = {}
    split: bool = False
    shadows: list[tuple[Limit, str, int]] = []
    would_refuse: list[str] = []
    made: int = 0
    settled: bool = False
    refused: tuple[Part, Denied] | None = None

    def reserved(self, part: Part) -> None:
        """One more reservation was made for it."""
        self.made += 1
        self.parts.append(part)
        for name in part.names:
            if self.last.setdefault(name, part) is not part:
                self.last[name], self.split = part, True

    def noted(self, limit: str) -> None:
        """A limit in shadow refuses it, as it may do at each of many bytes."""
        if limit not in self.would_refuse:
            self.would_refuse.append(limit)

    def mark(self) -> Mark:
        """What is charged so far, for `Limiter.take_back`."""
        return len(self.parts), len(self.shadows), len(self.tolls)

    def forget(self, mark: Mark) -> None:
        """What was charged since is given back."""
        parts, shadows, tolls = mark
        del self.parts[parts:], self.shadows[shadows:], self.tolls[tolls:]
        self.last = {name: part for part in self.parts for name in part.names}

    def used(self, units: Mapping[str, int]) -> dict[str, int]:
        """What it used, and that it is a request of each name."""
        return {**units, **self.requests}

    def measured(self, part: Part, left: dict[str, int]) -> list[int]:
        """What a reservation is charged of what is `left`.

        Where units have several, the last one of a unit takes the rest, even as debt.
        """
        if not self.split:
            return [left.get(name, 0) for name in part.names]
        shares: dict[str, int] = {}  # a unit of several limits: each is charged all
        for name, (_, count) in zip(part.names, part.wanted, strict=True):
            share = left.get(name, 0)
            if self.last[name] is not part:
                share = max(shares.get(name, 0), min(count, share))
            shares[name] = share
        for name, share in shares.items():
            left[name] = left.get(name, 0) - share
        return [shares[name] for name in part.names]

    def unforeseen(self, left: Mapping[str, int]) -> list[tuple[Limit, int]]:
        """What was used of units that nothing was reserved of, of each limit that meets it."""
        hard: list[Met] = [*self.terms.units]
        shadow: list[Met] = []
        for toll in self.tolls:
            hard += toll.hard
            shadow += toll.shadow
        noted = [name for _, name, _ in self.shadows]
        return [*self._lacking(hard, self.last, left), *self._lacking(shadow, noted, left)]

    def _lacking(
        self, met: Iterable[Met], known: Container[str], left: Mapping[str, int]
    ) -> Iterable[tuple[Limit, int]]:
        found = {}
        for each in met:
            unit = each.rate.unit
            if unit not in known and unit not in self.requests and (count := left.get(unit)):
                found[each.limit.key] = (each.limit, count)
        return found.values()
