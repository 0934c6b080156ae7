"""`modgate rerate`: post what a corrected price book makes of bills that were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import told
from modgate.cli.rows import ledger_of, read, spanning

if TYPE_CHECKING:
    from modgate.api.secret import Secret
    from modgate.ledger.records import Adjusted

WORKER = "rerate"  # a chain of its own: the gateway may write its own meanwhile


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

    Each difference is posted to the ledger as a row of its own, once; no row is changed.  What was
    posted for the time is kept in memory meanwhile: take a month at a time.
    """
    import time

    from modgate.api.price import BUDGET
    from modgate.blueprint import blueprint_of
    from modgate.invoice import Span, Tariff, adjusted_within, decimal
    from modgate.ledger.reader import adjustments
    from modgate.prices.books import Books
    from modgate.rerate import differences, posted

    with told():
        span = Span.of(begin, end)
        ledger = ledger_of(path, directory)
        made = blueprint_of(path)
        tariff = Tariff(Books(made.linked.books), made.units)
        known = posted(adjusted_within(adjustments(ledger, since=span.begin), span))
        count = total = 0
        posting = _posting(made.linked.file.ledger.key, ledger, post=post)
        with read(ledger) as whole, posting as write:
            found = whole.rows(span.begin, span.end)
            for each in differences(found, known, tariff, time.time()):
                write(each)
                count += 1
                total += each.units[BUDGET]
    done = "posted" if post else "would be posted, with --post"
    click.echo(f"{count} corrections, {decimal(total)} {tariff.books.currency}: {done}")


@contextmanager
def _posting(
    key: Secret | None, ledger: Path, *, post: bool
) -> Iterator[Callable[[Adjusted], None]]:
    """What writes a correction; nothing does where none is to be posted."""
    from modgate.clock import SystemClock
    from modgate.errors import ConfigError, Problem
    from modgate.ledger.frames import Tampered
    from modgate.ledger.writer import Ledger
    from modgate.server.secrets import kept

    if not post:
        yield lambda each: None
        return
    try:
        made = Ledger(
            ledger, key or kept(ledger.parent, "ledger-key"), SystemClock(), worker=WORKER
        )
    except Tampered as error:
        text = f"the ledger in {ledger} was changed by somebody else: {error}"
        raise ConfigError([Problem(message=text, path="ledger")]) from None
    try:
        yield made.adjusted
    finally:
        made.close()
