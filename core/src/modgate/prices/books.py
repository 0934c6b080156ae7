"""The books of a gateway: which one a request is rated by, and what it says about a unit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from modgate.api.price import Book, Place, Price


def dearest_in(book: Book, unit: str, place: Place) -> Price | None:
    """The most that a unit may cost wherever it is served: for what has no region yet."""
    regions = {case.region for case in book.cases} | {""}
    prices = [book.price(unit, place._replace(region=region)) for region in sorted(regions)]
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

    def changed_since(self, before: Books, now: float) -> int | None:
        """From when on, up to `now`, requests cost something else than by the books before.

        None: what was rated stays as it was.
        """
        for at in sorted({each for each in (*self._begun, *before._begun) if each <= now}):
            if _terms(self.in_force(at)) != _terms(before.in_force(at)):
                return at
        return None

    def corrected(self, book: Book) -> Book:
        """What takes the place of a book in the end: the last of its corrections, else itself."""
        while (later := self._correction(book.name)) is not None:  # they never go in a circle
            book = later
        return book

    def _correction(self, name: str) -> Book | None:
        return next((book for book in self.books if book.corrects == name), None)


def _terms(book: Book | None) -> object:
    """What a book says, by whatever name."""
    return None if book is None else (book.currency, book.cases)
