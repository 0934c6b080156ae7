"""The books of a gateway: which one a request is rated by, and what it says about a unit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from modgate.api.price import Book, Case, Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a price may depend on besides the unit; '' where it is not one thing."""

    tenant: str = ""
    model: str = ""
    slo: str = ""
    region: str = ""

    def meets(self, case: Case) -> bool:
        """Whether a case is about this place."""
        return (
            case.tenant in ("", self.tenant)
            and case.model in ("", self.model)
            and case.slo in ("", self.slo)
            and case.region in ("", self.region)
        )


def price_in(book: Book, unit: str, place: Place) -> Price | None:
    """The price of the narrowest case that has one; None = unpriced."""
    fitting = [case for case in book.cases if unit in case.prices and place.meets(case)]
    return max(fitting, key=lambda case: case.narrowness).prices[unit] if fitting else None


def dearest_in(book: Book, unit: str, place: Place) -> Price | None:
    """The most that a unit may cost wherever it is served: for what has no region yet."""
    regions = {case.region for case in book.cases} | {""}
    prices = [price_in(book, unit, replace(place, region=region)) for region in sorted(regions)]
    known = [price for price in prices if price is not None]
    return max(known, key=lambda price: price.each, default=None)


@dataclass(frozen=True, slots=True)
class Books:
    """All books, also past ones and those to come: every request of the ledger has its own."""

    books: Sequence[Book] = ()
    _begun: list[int] = field(init=False, default_factory=list)
    _plain: list[Book] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._plain.extend(
            sorted(
                (book for book in self.books if not book.corrects),
                key=lambda book: book.effective,
            )
        )
        self._begun.extend(book.effective for book in self._plain)

    def __bool__(self) -> bool:
        return bool(self._plain)

    def __iter__(self) -> Iterator[Book]:
        return iter(self.books)

    @property
    def currency(self) -> str:
        """Of all of them; '' when there are none."""
        return self._plain[0].currency if self._plain else ""

    def in_force(self, wall: float) -> Book | None:
        """The book that rates a request which begins at `wall` (epoch seconds).

        None: before the first one.
        """
        at = bisect_right(self._begun, wall)
        return self._plain[at - 1] if at else None

    def corrected(self, book: Book) -> Book:
        """What takes the place of a book in the end: the last of its corrections, else itself."""
        seen = {book.name}
        while (later := self._correction(book.name)) is not None and later.name not in seen:
            seen.add(later.name)
            book = later
        return book

    def _correction(self, name: str) -> Book | None:
        return next((book for book in self.books if book.corrects == name), None)


def clashes(cases: Iterable[Case]) -> Iterator[tuple[int, str]]:
    """Cases (by index) that price a unit which another one prices for just the same requests."""
    seen: set[tuple[str, str, str, str, str]] = set()
    for index, case in enumerate(cases):
        for unit in case.prices:
            at = (unit, case.tenant, case.model, case.slo, case.region)
            if at in seen:
                yield index, unit
            seen.add(at)
