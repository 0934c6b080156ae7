"""Money as a unit that limits count: what a request may cost, and what it did cost.

Only tenants with a budget come here; a request of any other is not rated while it lives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modgate.api.price import BUDGET, MICRO, MONEY, Book, Place, Price
from modgate.api.sink import Receipt
from modgate.draft import Draft
from modgate.errors import Unpriced
from modgate.ledger.records import ended_of
from modgate.money.invoice import Tariff
from modgate.prices.books import Books, dearest_in
from modgate.prices.rating import lines_of, shares, wanting
from modgate.units import REQUESTS, Unit, Units, UnitTable

KNOWN_AT_MOST = 4096
COST = Unit(
    BUDGET.partition(".")[2], "millionths of a currency", shown="cost", scale=MICRO, learned=True
)


def with_money(tariff: Tariff) -> UnitTable:
    """The units that limits know: money is one of them, and nobody declares it."""
    units = tariff.units
    return UnitTable(
        units={**units.units, BUDGET: COST},
        shown={**units.shown, BUDGET: COST.public},
        currency=tariff.books.currency,
    )


@dataclass(frozen=True, slots=True)
class Budgets:
    """Prices for callers whose limits are `budgeted`."""

    tariff: Tariff = field(default_factory=Tariff)
    _known: dict[tuple[str, str, Place], Price | None] = field(default_factory=dict)

    @staticmethod
    def of(books: Sequence[Book], units: UnitTable) -> Budgets:
        """By the books of a configuration."""
        return Budgets(Tariff(Books(books), units))

    def reserve(self, draft: Draft, units: Units, model: str, *, first: bool) -> Units:
        """The most that `units` cost wherever they are served; Unpriced where that is unknown.

        `first`: the request itself is in it.
        """
        counts = {unit: count for unit, count in units.full().items() if count}
        if first:
            counts[f"{units.modality}.{REQUESTS}"] = 1
        prices = self._prices(draft, counts, model)
        missing = wanting(counts, prices, self.tariff.units)
        if missing:
            shown = ", ".join(self.tariff.units.public(unit) for unit in missing)
            raise Unpriced(f"`{model}` has no price for {shown}, and your budget needs one")
        return Units({COST.name: self._sum(counts, prices)}, modality=MONEY)

    def so_far(self, draft: Draft, used: Mapping[str, int]) -> int:
        """Micro-units that a request may have cost by now, as far as it is priced."""
        apart = shares(draft.model, used, draft.tries)
        return sum(self.cost(draft, share, model or draft.model) for model, share in apart.items())

    def cost(self, draft: Draft, used: Mapping[str, int], model: str) -> int:
        """Micro-units that calls to a model may have cost, as far as they are priced."""
        return self._sum(used, self._prices(draft, used, model))

    def _sum(self, counts: Mapping[str, int], prices: Mapping[str, Price]) -> int:
        return sum(line.micro for line in lines_of(counts, prices, self.tariff.units))

    def _prices(self, draft: Draft, counts: Mapping[str, int], model: str) -> dict[str, Price]:
        """The dearest price of each unit of a model; those that have none are left out."""
        book = self.tariff.books.in_force(draft.wall)
        caller = draft.caller
        place = Place(tenant=caller.tenant, model=model, slo=caller.policy.slo)
        found: dict[str, Price] = {}
        if book is None:
            return found
        for unit in counts:
            at = (book.name, unit, place)
            if at not in self._known:
                if len(self._known) >= KNOWN_AT_MOST:
                    self._known.clear()
                self._known[at] = dearest_in(book, unit, place)
            price = self._known[at]
            if price is not None:
                found[unit] = price
        return found

    def final(self, receipt: Receipt) -> int:
        """Micro-units that a request did cost, as `modgate cost` says, too."""
        return self.tariff.rated(ended_of(receipt)).micro
