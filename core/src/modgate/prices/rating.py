"""Rating: what one request cost, as a pure function of its record and a book.

A line a unit, rounded half up to a micro-unit once a line; what is billed is the sum of lines, and
never rounded again.  A price on a part takes the place of the whole's for that part, so that of the
units of a whole each is billed once.  What has no price is said to have none.
Source: algorithms.md 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from modgate.api.price import Book, Place, Price
from modgate.units import EVERYWHERE, UnitTable

Pricing = Literal["priced", "partly", "unpriced"]

OPTIONAL = frozenset(unit.name for unit in EVERYWHERE)  # no price is asked for where none is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Where an attempt ran: as much of it as a price may depend on.

    `served`: something of what it said is billed, and was not done again elsewhere.  `side`: it is
    of an aside.  `units`: its cost, in the request's units, where that was told apart.
    """

    region: str
    model: str
    served: bool
    side: bool = False
    units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one request used, and what prices may depend on.

    `units`: by full name.  `cut_in`: the region of a request of which the attempts are not known,
    because a crash cut it.
    """

    tenant: str
    model: str
    modality: str
    slo: str
    units: Mapping[str, int]
    tried: Sequence[Tried] = ()
    cut_in: str = ""

    @property
    def region(self) -> str:
        """The region that its reply came from; '' where that was more than one.

        Of a request that made side calls only, the region of these.
        """
        own = [each for each in self.tried if not each.side]
        return _one_of({each.region for each in _served(own or self.tried)} or {self.cut_in})

    def region_of(self, model: str) -> str:
        """The region that a model's side calls were answered in; '' where that was several."""
        asked = [each for each in self.tried if each.side and each.model == model]
        return _one_of({each.region for each in _served(asked)})

    def model_of(self, unit: str) -> str:
        """The model of a unit that no attempt tells: the request's, or that of its side calls."""
        if unit.partition(".")[0] == self.modality:
            return self.model
        return _one_of({each.model for each in _served(self.tried)} - {self.model})

    def place(self, unit: str, region: str, model: str = "") -> Place:
        """Where a unit was used; `model`: by a side call of that one."""
        model = model or self.model_of(unit)
        return Place(tenant=self.tenant, model=model, slo=self.slo, region=region)


def _served(tried: Sequence[Tried]) -> Sequence[Tried]:
    """The attempts that served; all of them when none did."""
    return [each for each in tried if each.served] or tried


def _one_of(names: set[str]) -> str:
    return names.pop() if len(names) == 1 else ""


@dataclass(frozen=True, slots=True)
class Line:
    """`count` of a unit, as billed: without the parts that have lines of their own.

    `model`: of a side call, where its price is another one than that of the request's own.
    """

    unit: str
    count: int
    price: Price
    micro: int
    model: str = ""

    def more(self, count: int) -> Line:
        """With so many more, rounded once."""
        count += self.count
        return Line(self.unit, count, self.price, self.price.micro(count), self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A request's price lines in one currency, and the units that no price was found for."""

    book: str
    currency: str
    lines: tuple[Line, ...] = ()
    unpriced: tuple[str, ...] = ()

    @property
    def micro(self) -> int:
        """The sum of its lines: what is billed, as far as it is priced."""
        return sum(line.micro for line in self.lines)

    @property
    def pricing(self) -> Pricing:
        """Whether what was used has its price; a request that used nothing has."""
        if not self.unpriced:
            return "priced"
        return "partly" if self.lines else "unpriced"


class Counted(Protocol):
    """An attempt, as far as it says what it did cost."""

    @property
    def model(self) -> str:
        """What it asked."""
        ...

    @property
    def units(self) -> Mapping[str, int]:
        """See `Tried`."""
        ...


def shares(
    model: str, units: Mapping[str, int], tried: Iterable[Counted]
) -> dict[str, dict[str, int]]:
    """Units by the model that used them; those of "" are left for the request's own `model`.

    They sum to `units`, whatever the attempts say.
    """
    own = dict(sorted(units.items()))
    found = {"": own}
    for each in tried:
        if each.model == model:
            continue
        for unit, count in each.units.items():
            if taken := min(count, own.get(unit, 0)):
                share = found.setdefault(each.model, {})
                share[unit] = share.get(unit, 0) + taken
                own[unit] -= taken
    return {of: {unit: n for unit, n in share.items() if n} for of, share in found.items()}


def rate(used: Used, book: Book | None, units: UnitTable) -> Rated:
    """The lines of one request by a book; `book` None: no book was in force, all is unpriced.

    Parts lie over each other within a call, so each model's share has its wholes and parts for
    itself; what has the request's own prices is in its lines.
    """
    counts = {unit: count for unit, count in sorted(used.units.items()) if count}
    if book is None:
        return Rated(book="", currency="", unpriced=tuple(wanting(counts, (), units)))
    lines: dict[tuple[str, str], Line] = {}
    missing: set[str] = set()
    for model, share in shares(used.model, counts, used.tried).items():
        prices = _prices(used, share, book, model)
        apart = model and prices != _prices(used, share, book)
        for line in lines_of(share, prices, units, model if apart else ""):
            at = line.unit, line.model
            lines[at] = line.more(lines[at].count) if at in lines else line
        missing.update(wanting(share, prices, units))
    return Rated(
        book=book.name,
        currency=book.currency,
        lines=tuple(lines[at] for at in sorted(lines)),
        unpriced=tuple(sorted(missing)),
    )


def _prices(used: Used, counts: Mapping[str, int], book: Book, model: str = "") -> dict[str, Price]:
    region = used.region_of(model) if model else used.region
    found = {unit: book.price(unit, used.place(unit, region, model)) for unit in counts}
    return {unit: price for unit, price in found.items() if price is not None}


def lines_of(
    counts: Mapping[str, int], prices: Mapping[str, Price], units: UnitTable, model: str = ""
) -> tuple[Line, ...]:
    """A line for every unit with a price; wholes without their priced parts.

    Parts may lie over each other (a picture's tokens may be cached ones).  The cheapest has its
    units first, and no other part gets more than is left of the whole.
    """
    billed = {unit: counts[unit] for unit in prices}
    for whole in {part_of(unit, units) for unit in prices} & counts.keys():
        left = counts[whole]
        parts = [unit for unit in prices if part_of(unit, units) == whole]
        for unit in sorted(parts, key=lambda each: (prices[each].each, each)):
            billed[unit] = min(counts[unit], left)
            left -= billed[unit]
        if whole in prices:
            billed[whole] = left
    return tuple(
        Line(unit, count, prices[unit], prices[unit].micro(count), model)
        for unit, count in sorted(billed.items())
        if count
    )


def wanting(
    counts: Mapping[str, int], prices: Mapping[str, Price] | Sequence[str], units: UnitTable
) -> list[str]:
    """The units that should have a price and have none.

    A part is in its whole's price; requests and bytes are counted for every modality, and few
    operators sell them.
    """
    return [
        unit
        for unit in counts
        if unit not in prices
        and unit.partition(".")[2] not in OPTIONAL
        and part_of(unit, units) not in counts
    ]


def part_of(unit: str, units: UnitTable) -> str:
    """The full name of the whole that a unit is inside of; '' for one that is a whole."""
    declared = units.units.get(unit)
    if declared is None or declared.part_of is None:
        return ""
    return f"{unit.partition('.')[0]}.{declared.part_of}"
