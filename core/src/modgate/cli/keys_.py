"""`modgate keys`: API keys, made for a file or kept in the store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from modgate.cli.problems import plain_errors
from modgate.cli.stored import opened, where

DAY = "%Y-%m-%d"


@click.group("keys")
def command() -> None:
    """Make, list, rotate and revoke API keys.  A key is shown once; only its digest is kept."""


@command.command("new")
@click.argument("name")
@where
@click.option("--env", default="live", show_default=True, help="a word in the key: live, test")
@click.option("--tenant", help="keep it in the store, for this tenant")
@click.option("--id", "key_id", help="of a key of a file: the line for its other secret")
@click.option(
    "--role",
    type=click.Choice(["operator", "admin"]),
    help="of somebody who runs the gateway: the line is for the file of [admin] keys",
)
@click.option("--grant", help='JSON of what it may use less than its tenant: {"models": ["chat"]}')
def new(
    name: str,
    path: Path | None,
    directory: Path | None,
    env: str,
    tenant: str | None,
    key_id: str | None,
    role: str | None,
    grant: str | None,
) -> None:
    """Make a key called NAME and print it.

    With --tenant it is kept in the store, and good within seconds; without, the line for the
    tenant's key file is printed.
    """
    if tenant is None:
        if grant is not None:
            raise click.UsageError("--grant is for a key of the store: say --tenant, too")
        _for_file(name, path, directory, env=env, key_id=key_id, role=role or "tenant")
        return
    if key_id is not None:
        raise click.UsageError("a key of the store keeps its id: modgate keys rotate ID")
    if role is not None:
        raise click.UsageError("a key with a role is no tenant's: leave out --tenant")
    with opened(path, directory) as at:
        key, row = at.registrar.new_key(
            tenant, name=name, env=env, grant=json_object(grant or "{}"), wall=at.wall()
        )
    click.echo(f"key:  {key.reveal()}")
    click.echo(f"id:   {row.id}")


def _for_file(
    name: str,
    path: Path | None,
    directory: Path | None,
    *,
    env: str,
    key_id: str | None,
    role: str,
) -> None:
    from modgate.api.secret import Secret
    from modgate.auth.keys import ROLES, new_key, parse_line
    from modgate.config.decode import decode
    from modgate.config.source import read

    with plain_errors():
        pepper: Secret | None = None
        if path is not None:
            pepper = decode(read(path)).auth.pepper
            if pepper is None:
                raise click.UsageError(f"{path} has no [auth] pepper")
        elif directory is not None:
            pepper = Secret((directory / "pepper").read_text().strip())
    if pepper is None:
        raise click.UsageError("say whose pepper: --config FILE or --directory DIR")
    try:
        key, stored = new_key(
            pepper, name=name, env=env, random=os.urandom, key_id=key_id, role=ROLES[role]
        )
        parse_line(stored.line())  # an id that is none is told here, and not by a gateway
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"key:  {key.reveal()}")
    click.echo(f"line: {stored.line()}")


@command.command("list")
@where
@click.option("--tenant", help="this tenant only")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of a table")
def listing(path: Path | None, directory: Path | None, tenant: str | None, as_json: bool) -> None:
    """List the keys of file and store; a secret is never among them."""
    from modgate.api.surface import dump

    with opened(path, directory) as at:
        rows = at.registrar.keys()
    rows = [row for row in rows if tenant in (None, row["tenant"])]
    if as_json:
        click.echo(dump(rows))
        return
    click.echo(f"{'id':<12}  {'tenant':<16} {'name':<20} {'last':<4}  {'made':<10}  state")
    for row in rows:
        made = _day(row["created"]) if "created" in row else "-"
        click.echo(
            f"{row['id']:<12}  {row['tenant']:<16} {row['name']:<20} {row.get('last4', '-'):<4}  "
            f"{made:<10}  {_state(row)}"
        )


def _state(row: dict[str, object]) -> str:
    if "revoked" in row:
        return f"revoked {_day(row['revoked'])}"
    if "rotating_until" in row:
        return f"rotating until {_day(row['rotating_until'])}"
    return str(row["declared"])


def _day(unix_s: object) -> str:
    return datetime.fromtimestamp(float(str(unix_s)), UTC).strftime(DAY)


@command.command("rotate")
@click.argument("key_id", metavar="ID")
@where
@click.option("--grace", default="1d", show_default=True, help="how long the old secret is good")
def rotate(key_id: str, path: Path | None, directory: Path | None, grace: str) -> None:
    """Give the key ID another secret and print the key; the old one stays good for --grace.

    Of a key in a file, `modgate keys new NAME --id ID` prints the line to put beside the old one.
    """
    from modgate.config.values import duration

    try:
        grace_s = duration(grace)
    except ValueError as error:
        raise click.UsageError(f"--grace: {error}") from None
    with opened(path, directory) as at:
        key = at.registrar.rotate_key(key_id, grace_s=grace_s, wall=at.wall())
    click.echo(f"key:  {key.reveal()}")


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@where
def revoke(key_id: str, path: Path | None, directory: Path | None) -> None:
    """End the key ID for good; gateways refuse it within five seconds."""
    with opened(path, directory) as at:
        at.registrar.revoke_key(key_id, at.wall())
    click.echo(f"revoked {key_id}")


def json_object(text: str) -> dict[str, object]:
    """A JSON object that was given on the command line."""
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError('a grant is a JSON object: {"models": ["chat"]}')
    return value
