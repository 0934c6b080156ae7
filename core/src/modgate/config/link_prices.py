"""Linking price books: units and names that exist, one currency, every moment one book."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from modgate.api.price import Book, Case, Place, Price
from modgate.config.guess import did_you_mean
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File, PriceSection
from modgate.config.values import PriceText
from modgate.units import Unit, UnitTable

Path = tuple[str | int, ...]

PERIODS_S = {
    "s": 1, "second": 1, "seconds": 1,
    "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600,
}  # fmt: skip  # rows as they are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a case may name: its key -> the names.

    Tenants are not among them: the store has some that the file does not know.  None: any.
    """

    known: Mapping[str, Collection[str] | None]

    def wrong(self, key: str, name: str) -> str:
        """Why a name does not fit; '' when it does."""
        known = self.known[key]
        if not name or known is None or name in known:
            return ""
        if key == "region":
            return f"no backend stands in '{name}'{did_you_mean(name, known)}"
        return f"no [{key}.{name}]{did_you_mean(name, known)}"


class PricesLinker:
    """Links `[price.*]`."""

    def __init__(self, units: UnitTable, file: File, mistakes: Mistakes) -> None:
        self._units = units
        self._file = file
        self._wrong, self._missing = mistakes.wrong, mistakes.missing
        self._names = Names(
            known={
                "model": file.model,
                "slo": file.slo,
                "region": None if file.places is None else file.places - {""},
            }
        )

    def link(self) -> tuple[Book, ...]:
        """All books."""
        sections = self._file.price
        books = {name: self._book(name, section) for name, section in sections.items()}
        self._corrections(sections)
        self._days(sections)
        self._currencies(sections)
        return tuple(self._whole(books, name) for name in books)

    def _whole(self, books: Mapping[str, Book], name: str) -> Book:
        """A correction with its time, and with the prices that it leaves as they were."""
        book = books[name]
        first = self._first(name)
        if first is None or book.corrects not in books:
            return book
        before = self._whole(books, book.corrects)
        own = {replace(case, prices={}): case.prices for case in book.cases}
        kept = {replace(case, prices={}): case.prices for case in before.cases}
        cases = [
            replace(case, prices={**kept.get(case, {}), **own.get(case, {})})
            for case in {**kept, **own}
        ]
        return replace(book, effective=before.effective, cases=tuple(cases))

    def _book(self, name: str, section: PriceSection) -> Book:
        path = ("price", name)
        common = self._prices((*path, "units"), section.units, closed=section.closed)
        cases = [Case(prices=common)]
        priced = {case.place: set(case.prices) for case in cases}
        for index, written in enumerate(section.case):
            where = (*path, "case", index)
            for key in ("model", "slo", "region"):
                reason = self._names.wrong(key, getattr(written, key))
                if reason and not section.closed:
                    named = ("backend",) if key == "region" else (key, getattr(written, key))
                    self._missing((*where, key), reason, *named)
            prices = self._prices((*where, "units"), written.units, closed=section.closed)
            case = Case(
                prices=prices,
                tenant=written.tenant,
                model=written.model,
                slo=written.slo,
                region=written.region,
            )
            if not any(case.place):
                text = "is of all requests: name a tenant, model, slo or region, or use 'units'"
                self._wrong(where, text)
            self._clash(where, case, priced)
            cases.append(case)
        return Book(
            name=name,
            currency=section.currency,
            effective=section.effective or 0,
            cases=tuple(cases),
            corrects=section.corrects,
        )

    def _clash(self, path: Path, case: Case, priced: dict[Place, set[str]]) -> None:
        """Two cases of the same requests may not price the same unit: neither would be narrower.

        `priced`: the units of the cases before, by whose requests they are about.
        """
        known = priced.setdefault(case.place, set())
        for unit in sorted(case.prices.keys() & known):
            name = self._units.public(unit)
            self._wrong((*path, "units", name), "has a price in another case like this one")
        known.update(case.prices)

    def _prices(
        self, path: Path, written: Mapping[str, PriceText], *, closed: bool
    ) -> dict[str, Price]:
        found: dict[str, Price] = {}
        for name in sorted(written, key=lambda each: not each.startswith("*.")):
            resolved = self._units.resolve(name)
            if not resolved and not closed:
                known = sorted({self._units.public(full) for full in self._units.units})
                self._wrong((*path, name), f"unknown unit{did_you_mean(name, known)}")
            for full in resolved:
                price = _price(written[name], self._units.units[full])
                if isinstance(price, str):
                    self._wrong((*path, name), price)
                else:
                    found[full] = price  # a unit's own takes the place of a star's
        return found

    def _corrections(self, sections: Mapping[str, PriceSection]) -> None:
        corrected: dict[str, str] = {}
        for name, section in sections.items():
            path, of = ("price", name), section.corrects
            if bool(of) == (section.effective is not None):
                text = (
                    "say 'effective', or 'corrects': a correction has the time of what it corrects"
                )
                self._missing(path, text, *path)
            if not of:
                continue
            if of not in sections or of == name:
                text = f"no other [price.{of}]{did_you_mean(of, sections.keys() - {name})}"
                self._wrong((*path, "corrects"), text)
            elif of in corrected:
                text = f"'{of}' is corrected by '{corrected[of]}': correct that one"
                self._wrong((*path, "corrects"), text)
            elif self._first(name) is None:
                self._wrong((*path, "corrects"), "the corrections go in a circle")
            corrected.setdefault(of, name)

    def _first(self, name: str) -> PriceSection | None:
        """The book that a chain of corrections goes back to; None when it goes in a circle."""
        sections = self._file.price
        for _ in range(len(sections)):
            section = sections[name]
            if section.corrects not in sections:
                return section
            name = section.corrects
        return None

    def _days(self, sections: Mapping[str, PriceSection]) -> None:
        begun: dict[int, str] = {}
        for name, section in sections.items():
            if section.effective is None:
                continue
            other = begun.setdefault(section.effective, name)
            if other != name:
                text = f"'{other}' begins then, too: which one rates a request must be plain"
                self._wrong(("price", name, "effective"), text)

    def _currencies(self, sections: Mapping[str, PriceSection]) -> None:
        """One in all: sums and budgets go over books, and backends are compared by their cost."""
        first = next(iter(sections.values()), None)
        for name, section in sections.items():
            if first is not None and section.currency != first.currency:
                text = f"is {section.currency}, and another book {first.currency}: take one for all"
                self._wrong(("price", name, "currency"), text)
        currency = "" if first is None else first.currency
        whose = "another backend is" if first is None else "the price books are"
        for index, backend in enumerate(self._file.backend):
            cost = backend.cost_per_hour
            if cost is None:
                continue
            currency = currency or cost.currency
            if cost.currency != currency:
                text = f"is in {cost.currency}, and {whose} in {currency}"
                self._wrong(("backend", index, "cost_per_hour"), text)


def _price(written: PriceText, unit: Unit) -> Price | str:
    """A price of a unit, in the ledger's counting; or why it cannot be."""
    if not written.noun:
        return Price(pico=written.pico, per=written.count * unit.scale)
    timed = unit.public.endswith("seconds")
    if timed and written.noun in PERIODS_S:
        return Price(pico=written.pico, per=written.count * PERIODS_S[written.noun] * unit.scale)
    last = unit.public.rpartition("_")[2]
    if written.noun in {unit.public, unit.public.removesuffix("s"), last, last.removesuffix("s")}:
        return Price(pico=written.pico, per=written.count * unit.scale)
    fitting = "'second', 'min' or 'hour'" if timed else f"'{unit.public.removesuffix('s')}'"
    return f"a price of {unit.public} is for {fitting} and not '{written.noun}'"
