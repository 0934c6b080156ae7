"""`modgate usage`: what was used, from the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from modgate.cli.problems import plain_errors
from modgate.cli.rows import Format, asked, ledger_of, print_rows, selected
from modgate.money.invoice import Group


@click.command("usage")
@selected
def command(
    path: Path | None,
    directory: Path | None,
    tenant: str | None,
    by: tuple[Group, ...],
    begin: int | None,
    end: int | None,
    form: Format | None,
) -> None:
    """Sum the ledger's units by groups, in whole numbers of the inside unit.

    A sum is `exact` when none of its requests has a count that is a floor or an estimate.
    """
    from modgate.money.invoice import Span, TooManyLines, units_by

    with plain_errors():
        span = Span.of(begin, end)
        ledger = ledger_of(path, directory)
        try:
            found = asked(
                ledger, lambda whole: units_by(whole.rows(span.begin, span.end, tenant), by)
            )
        except TooManyLines as error:
            raise click.ClickException(str(error)) from None
    print_rows(
        (*by, "unit", "amount", "requests", "exact"),
        [(*key, line.amount, line.requests, line.exact) for key, line in found.items()],
        form,
    )
