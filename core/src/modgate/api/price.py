"""What units cost: prices, and the books that they stand in.  Whole numbers throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import NamedTuple

MICRO = 1_000_000  # micro-units in one unit of a currency, and pico-units in a micro-unit
Named = tuple[bool, ...]  # which members of a place a case names
NARROWEST_FIRST: tuple[Named, ...] = tuple(product((True, False), repeat=4))

MONEY = "money"  # the front of `money.micro`, in the way that a modality is the front of its units
BUDGET = f"{MONEY}.micro"


class Place(NamedTuple):
    """What a price may depend on besides the unit; '' = any, or where it is not one."""

    tenant: str = ""
    model: str = ""
    slo: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """`pico` pico-units (10^-12) of a currency for every `per` units, in the ledger's own counting.

    EUR 0.36 an hour of audio is 360 000 000 000 for 3 600 000 `audio_ms`: no price is rounded.
    """

    pico: int
    per: int

    def micro(self, count: int) -> int:
        """What `count` units cost in micro-units, rounded half up: once, and here only."""
        whole = self.per * MICRO
        return (2 * count * self.pico + whole) // (2 * whole)

    @property
    def each(self) -> Fraction:
        """Pico-units for one: to compare prices by."""
        return Fraction(self.pico, self.per)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Prices for those requests that are of this tenant, model, SLO class and region; '' = any."""

    prices: Mapping[str, Price] = field(default_factory=dict, hash=False)
    tenant: str = ""
    model: str = ""
    slo: str = ""
    region: str = ""

    @property
    def place(self) -> Place:
        """Whose requests it is about."""
        return Place(self.tenant, self.model, self.slo, self.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The prices of requests that begin at `effective` (epoch second) or later.

    `corrects`: the book that it takes the place of, from that one's day on; what was rated by that
    one is adjusted, never changed.
    """

    name: str
    currency: str
    effective: int
    cases: tuple[Case, ...] = ()
    corrects: str = ""
    _prices: dict[str, dict[Named, dict[Place, Price]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        for kept in NARROWEST_FIRST:
            for case in self.cases:
                if tuple(map(bool, case.place)) == kept:
                    for unit, price in case.prices.items():
                        known = self._prices.setdefault(unit, {})
                        known.setdefault(kept, {})[case.place] = price

    def price(self, unit: str, place: Place) -> Price | None:
        """The price of the narrowest case that has one; None = unpriced.

        A tenant's own price goes before a model's, that before a class's, a region's comes last.
        """
        for kept, known in self._prices.get(unit, {}).items():
            at = [name if keep else "" for name, keep in zip(place, kept, strict=True)]
            if (price := known.get(Place._make(at))) is not None:
                return price
        return None
