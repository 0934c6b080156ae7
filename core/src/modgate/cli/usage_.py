"""`modgate usage`: what was used, from the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from modgate.cli.problems import told


@click.command("usage")
@click.option("--config", "path", type=click.Path(path_type=Path), help="whose [state] directory")
@click.option("--directory", type=click.Path(path_type=Path), help="the state directory itself")
@click.option("--tenant", help="this tenant only")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of a table")
def command(path: Path | None, directory: Path | None, tenant: str | None, as_json: bool) -> None:
    """Sum the ledger by tenant, model and unit.

    `~` marks a sum in which some request's count is a floor or an estimate.
    """
    from modgate.api.surface import dump
    from modgate.config.decode import decode, read
    from modgate.ledger.reader import sums
    from modgate.server.secrets import default_directory

    with told():
        if directory is None and path is not None:
            directory = decode(read(path)).state.directory
        ledger = (directory or default_directory()) / "ledger"
        if not ledger.is_dir():
            text = f"there is no ledger in {ledger.parent}: is that a gateway's state directory?"
            raise click.ClickException(text)
        found = sums(ledger, tenant=tenant)
    if as_json:
        rows = [
            {
                "tenant": each.tenant,
                "model": each.model,
                "unit": each.unit,
                "amount": each.amount,
                "requests": each.requests,
                "exact": each.exact,
            }
            for each in found
        ]
        click.echo(dump(rows))
        return
    click.echo(f"{'tenant':<16} {'model':<28} {'unit':<24} {'amount':>14} {'requests':>9}")
    for each in found:
        mark = "" if each.exact else " ~"
        click.echo(
            f"{each.tenant:<16} {each.model:<28} {each.unit:<24} "
            f"{each.amount:>14} {each.requests:>9}{mark}"
        )
