"""Price books and rated lines as others keep them.  A change of these is a new version."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from modgate.api.price import Book
from modgate.prices.books import Books
from modgate.prices.rating import Tried, Used, rate
from modgate.prices.records import record_of
from modgate.snapshot.blueprint import blueprint_of

GOLDEN = Path(__file__).parent / "golden"
USED = Used(
    tenant="acme",
    model="chat",
    modality="llm",
    slo="batch",
    units={
        "llm.input_tokens": 1_000_003,
        "llm.cached_tokens": 400_001,
        "llm.output_tokens": 2_500_000,
        "llm.requests": 1,
        "llm.bytes_in": 77,
        "asr.audio_ms": 61_000,
        "other.things": 3,
    },
    tried=(Tried(region="eu", model="chat", served=True),),
)


def kept(name: str) -> object:
    """What the golden file says."""
    return json.loads((GOLDEN / name).read_text())


def _plain(book: Book) -> dict[str, object]:
    plain = asdict(replace(book, cases=()))
    del plain["_prices"]  # the same once more, to be found in
    return {**plain, "cases": [asdict(case) for case in book.cases]}


def test_a_book_means_what_it_meant() -> None:
    made = [_plain(book) for book in blueprint_of(GOLDEN / "book.toml").linked.books]

    assert json.loads(json.dumps(made)) == kept("book.json")


def test_rated_lines_have_the_form_that_they_had() -> None:
    known = blueprint_of(GOLDEN / "book.toml")
    books = Books(known.linked.books)
    book = books.in_force(1_772_409_600.0)  # 2 March 2026
    assert book is not None
    made = [record_of(rate(USED, each, known.units)) for each in (book, books.corrected(book))]
    made.append(record_of(rate(USED, None, known.units)))

    assert made == kept("rated.json")
