"""`modgate tenants`: the tenants of file and store."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from modgate.cli.keys_ import json_object
from modgate.cli.stored import opened, where


@click.group("tenants")
def command() -> None:
    """List tenants, and change those that no file declares."""


@command.command("list")
@where
@click.option("--json", "as_json", is_flag=True, help="JSON in place of a table")
def listing(path: Path | None, directory: Path | None, as_json: bool) -> None:
    """List the tenants of file and store."""
    from modgate.api.surface import dump

    with opened(path, directory) as at:
        rows = [each.shown() for each in at.registrar.tenants()]
    if as_json:
        click.echo(dump(rows))
        return
    click.echo(f"{'tenant':<24} {'keys':>5}  declared")
    for row in rows:
        click.echo(f"{row['name']:<24} {len(row['keys']):>5}  {row['declared']}")


@command.command("show")
@click.argument("name")
@where
def show(name: str, path: Path | None, directory: Path | None) -> None:
    """Show the tenant NAME as JSON: where it is declared, its grant, its key ids."""
    from modgate.api.surface import dump

    with opened(path, directory) as at:
        click.echo(dump(at.registrar.tenant(name).shown()))


@command.command("set")
@click.argument("name")
@click.argument("grant", default="{}")
@where
def set_(name: str, grant: str, path: Path | None, directory: Path | None) -> None:
    """Add the tenant NAME, or give it another GRANT.

    GRANT is JSON with the keys of a file's [tenant.NAME], `{"models": ["chat"]}`; `-` reads it from
    standard input.
    """
    text = sys.stdin.read() if grant == "-" else grant
    with opened(path, directory) as at:
        at.registrar.set_tenant(name, json_object(text), at.wall())
    click.echo(f"set {name}")


@command.command("delete")
@click.argument("name")
@where
def delete(name: str, path: Path | None, directory: Path | None) -> None:
    """Delete the tenant NAME and revoke its keys."""
    with opened(path, directory) as at:
        revoked = at.registrar.delete_tenant(name, at.wall())
    click.echo(f"deleted {name}, {revoked} keys revoked")
