"""Counting the requests that the price books have no price for: sold for nothing, unless seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from modgate.api.sink import Receipt
from modgate.ledger.records import ended_of
from modgate.money.invoice import Tariff, used_of
from modgate.observe.metrics import Counter
from modgate.prices.rating import rate

KNOWN_AT_MOST = 4096


@dataclass(slots=True, eq=False)
class UnpricedCounter:
    """Counts them by modality and unit.  Without price books nothing is priced, nor counted."""

    counter: Counter
    tariff: Callable[[], Tariff]
    _by: Tariff | None = None
    _known: dict[tuple[object, ...], tuple[str, ...]] = field(default_factory=dict)

    def observe(self, receipt: Receipt) -> None:
        """A request ended."""
        tariff = self.tariff()
        if not tariff.books or not receipt.admitted or not receipt.modality:
            return
        if tariff is not self._by or len(self._known) >= KNOWN_AT_MOST:
            self._known.clear()
            self._by = tariff
        book = tariff.books.in_force(receipt.wall)
        last = {each.call: each for each in receipt.attempts}
        at = (
            *(book.name if book is not None else "", receipt.tenant, receipt.model, receipt.slo),
            frozenset(unit for unit, count in receipt.units.items() if count),
            frozenset(
                (each.region, each.model, each.state, each.first_s is None, each is last[each.call])
                for each in receipt.attempts
            ),
        )
        apart = any(each.units for each in receipt.attempts)
        missing = self._known.get(at) if not apart else None
        if missing is None:  # same result without this: what is unpriced depends on no count
            missing = rate(used_of(ended_of(receipt)), book, tariff.units).unpriced
            if not apart:  # of side calls it does: what is left for the request's own model
                self._known[at] = missing
        for unit in missing:
            self.counter.add((receipt.modality, tariff.units.public(unit)))
