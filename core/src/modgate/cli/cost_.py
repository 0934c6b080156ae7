"""`modgate cost`: what the ledger's requests cost, by the price books and by the machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.api.json import Json
from modgate.cli.problems import plain_errors
from modgate.cli.rows import Format, asked, ledger_of, print_rows, selected
from modgate.money.invoice import Group

if TYPE_CHECKING:
    from modgate.ledger.stored import Whole
    from modgate.money.hardware import Hardware
    from modgate.money.invoice import Key, MoneyLine, Span
    from modgate.snapshot.blueprint import Blueprint

IDLE = "(idle)"
DAY_S = 86_400
NAMES = ("currency", "requests", "unpriced", "price", "adjusted", "hardware")


@click.command("cost")
@selected
@click.option("--hardware", is_flag=True, help="share out the backends' `cost_per_hour`, too")
def command(
    path: Path | None,
    directory: Path | None,
    tenant: str | None,
    by: tuple[Group, ...],
    begin: int | None,
    end: int | None,
    form: Format | None,
    hardware: bool,
) -> None:
    """Rate the ledger by the price books of --config, by groups.

    `price` is the sum of what is priced; `unpriced` counts the requests with units that are not;
    `adjusted` is what `modgate rerate` put right since.
    With --hardware the time is whole hours, `hardware` is each group's share of what the backends
    cost in it, and what nobody used has a line a backend.
    """
    from modgate.money.invoice import (
        MoneyLine,
        Span,
        Tariff,
        TooManyLines,
        add_adjusted,
        money_by,
    )
    from modgate.prices.books import Books
    from modgate.snapshot.blueprint import blueprint_of

    if path is None:
        raise click.UsageError("say which file has the price books: --config FILE")
    with plain_errors():
        span = Span.of(begin, end)
        ledger = ledger_of(path, directory)
        made = blueprint_of(path)
        tariff = Tariff(Books(made.linked.books), made.units)

        def rated(whole: Whole) -> dict[Key, MoneyLine]:
            lines = money_by(whole.rows(span.begin, span.end, tenant), by, tariff)
            later = whole.adjustments(span.begin, span.end, tenant)
            add_adjusted(lines, later, by, MoneyLine)
            return lines

        try:
            found = asked(ledger, rated)
        except TooManyLines as error:
            raise click.ClickException(str(error)) from None
        machines = _shared(made, ledger, by, span) if hardware else None
    print_rows((*by, *NAMES), list(_lines(found, by, tariff.books.currency, machines)), form)


def _shared(made: Blueprint, ledger: Path, by: Sequence[Group], span: Span) -> Hardware:
    """Every tenant's share of the backends: one tenant's depends on who else was there."""
    import time

    from modgate.money.hardware import Hardware, shared

    if not span.hours:
        raise click.UsageError("with --hardware the time is whole hours")
    costs = {
        backend.name: backend.cost_per_hour.micro
        for backend in made.linked.file.backend
        if backend.cost_per_hour is not None
    }
    if not costs:
        raise click.UsageError("no [[backend]] has a cost_per_hour")
    weights = {name: each.weights for name, each in made.loaded.modalities.items()}
    early = max(0.0, span.begin - DAY_S)  # of who was there at its beginning
    found = asked(
        ledger,
        lambda whole: shared(Hardware(costs, weights, by, span), whole.rows(early), time.time()),
    )
    if found.late:
        text = f"{found.late} stays came after their hour was shared out, and are not charged"
        click.echo(text, err=True)
    return found


def _lines(
    found: dict[Key, MoneyLine], by: Sequence[Group], currency: str, machines: Hardware | None
) -> Iterable[Sequence[Json]]:
    from modgate.money.invoice import decimal

    shares = machines.shares if machines is not None else {}
    for key, line in found.items():
        priced = (line.requests, line.unpriced, decimal(line.micro), decimal(line.adjusted))
        yield *key, currency, *priced, decimal(shares.get(key, 0)) if machines is not None else ""
    if machines is not None:
        blank = [""] * (len(by) - 1)
        for backend, micro in sorted(machines.idle.items()):
            yield f"{IDLE} {backend}", *blank, currency, 0, 0, *map(decimal, (0, 0, micro))
