"""`modgate rerate`: post what a corrected price book makes of bills that were made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors
from modgate.cli.rows import asked, ledger_of, spanning

if TYPE_CHECKING:
    from modgate.ledger.records import Adjusted
    from modgate.ledger.stored import Whole
    from modgate.snapshot.blueprint import Blueprint

SHIP_S = 86_400.0  # one that takes rows has its time; one that says nothing is given up by itself


@click.command("rerate")
@click.option(
    "--config", "path", required=True, type=click.Path(path_type=Path), help="whose price books"
)
@click.option("--directory", type=click.Path(path_type=Path), help="the state directory itself")
@spanning
@click.option("--post", is_flag=True, help="write the corrections; else they are summed and shown")
def command(
    path: Path, directory: Path | None, begin: int | None, end: int | None, post: bool
) -> None:
    """Compare bills with the books that correct the ones they were rated by.

    Each difference is posted to the ledger as a row of its own, once, and shipped to the sinks; no
    row is changed.  What was posted for the time, and what is to be, is kept in memory: take a
    month at a time.  Exit code 1 where the disk or a sink does not have all of it.
    """
    import time

    from modgate.api.price import BUDGET
    from modgate.money.invoice import Span, Tariff, decimal
    from modgate.money.rerate import differences, posted
    from modgate.prices.books import Books
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        span = Span.of(begin, end)
        ledger = ledger_of(path, directory)
        made = blueprint_of(path)
        tariff = Tariff(Books(made.linked.books), made.units)

        def owed(whole: Whole) -> list[Adjusted]:
            known = posted(whole.adjustments(span.begin, span.end))
            found = whole.rows(span.begin, span.end)
            return list(differences(found, known, tariff, time.time()))

        posting = _posting(made, ledger) if post else nullcontext(Posting())
        with posting as to:
            corrections = asked(ledger, owed)
            for each in corrections:
                to.write(each)
    total = sum(each.units[BUDGET] for each in corrections)
    done = "not all posted" if to.failed else "posted" if post else "would be posted, with --post"
    click.echo(f"{len(corrections)} corrections, {decimal(total)} {tariff.books.currency}: {done}")
    for reason in to.failed:
        click.echo(f"{reason}; then post again", err=True)
    if to.failed:
        sys.exit(1)


@dataclass(slots=True, eq=False)
class Posting:
    """What writes a correction, and in the end why not all of them are everywhere."""

    write: Callable[[Adjusted], None] = lambda _: None
    failed: list[str] = field(default_factory=list)


@contextmanager
def _posting(made: Blueprint, ledger: Path) -> Iterator[Posting]:
    """Into the chain of corrections; at the end sinks are given all of it."""
    from modgate.clock import SystemClock
    from modgate.ledger.frames import Tampered
    from modgate.ledger.identity import CORRECTIONS
    from modgate.ledger.shipping import Shipping
    from modgate.ledger.writer import Ledger
    from modgate.server.ledger import changed, sinks_of
    from modgate.server.secrets import secret_in

    section, clock = made.linked.file.ledger, SystemClock()
    key = section.key or secret_in(ledger.parent, "ledger-key")
    try:
        chain = Ledger(ledger, key, clock, name=section.name, worker=CORRECTIONS)
    except Tampered as error:
        raise changed("ledger", ledger, error) from None
    posting = Posting(chain.adjusted)
    try:
        yield posting
    finally:
        chain.close()
        if not chain.writable:
            posting.failed.append("the disk does not take all of them: make room")
        shipping = Shipping.of(sinks_of(made, ledger.parent), chain, key, clock)
        shipping.close(SHIP_S)
    for each in shipping.shippers:
        if not each.up or each.lag.frames:
            why = each.error or "it is slow"
            posting.failed.append(
                f"the sink {each.name} does not have all of them ({why}): mend it"
            )
