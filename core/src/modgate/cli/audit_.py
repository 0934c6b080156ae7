"""`modgate audit`: who changed what, and what was denied."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors

if TYPE_CHECKING:
    from modgate.api.json import JsonObject
    from modgate.ledger.audit_reader import Proof
    from modgate.ledger.records import Audited


@click.command("audit")
@click.option("--config", "path", type=click.Path(path_type=Path), help="whose audit log")
@click.option("--directory", type=click.Path(path_type=Path), help="the state directory itself")
@click.option("--denied", is_flag=True, help="denied requests in place of changes")
@click.option(
    "--last",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="so many records, the newest",
)
@click.option("--json", "as_json", is_flag=True, help="JSON in place of a table")
def command(
    path: Path | None, directory: Path | None, denied: bool, last: int, as_json: bool
) -> None:
    """Print who changed what, or how many requests were denied for which reason.

    The chain is proven on the way: a record that was edited, removed or cut off is told, and the
    exit code is 1.
    """
    from modgate.api.surface import dump
    from modgate.config.decode import decode
    from modgate.config.schema import AuditSection
    from modgate.config.source import read
    from modgate.ledger.audit_reader import AuditReader
    from modgate.ledger.chain_reader import Broken
    from modgate.server.secrets import secret_in
    from modgate.snapshot.directories import default_directory

    with plain_errors():
        section = AuditSection()
        if path is not None:
            file = decode(read(path))
            section, directory = file.audit, directory or file.state.directory
        state = directory or default_directory()
        log = state / "audit"
        if not log.is_dir():
            text = f"there is no audit log in {state}: is that a gateway's state directory?"
            raise click.ClickException(text)
        key = section.key or secret_in(state, "audit-key")
        try:
            reader = AuditReader(log, "denied" if denied else "changes", key, anchor=section.anchor)
            found = deque(reader.records(), maxlen=last)
        except Broken as error:
            raise click.ClickException(f"the audit log was changed: {error}") from None
    if as_json:
        click.echo(dump([_shown(each) for each in found]))
    else:
        _table(found, denied)
    click.echo(_proven(reader.proof), err=True)


def _table(found: deque[Audited], denied: bool) -> None:
    if denied:
        click.echo(f"{'until':<20} {'tenant':<16} {'count':>9}  reason")
        for each in found:
            click.echo(f"{_at(each.wall):<20} {each.tenant:<16} {each.count:>9}  {each.subject}")
        return
    click.echo(f"{'when':<20} {'who':<28} {'what':<15} subject")
    for each in found:
        about = f"{each.subject} {each.detail}".rstrip()
        click.echo(f"{_at(each.wall):<20} {each.actor:<28} {each.action:<15} {about}")


def _at(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _shown(record: Audited) -> JsonObject:
    import msgspec

    shown: JsonObject = msgspec.to_builtins(record)
    return shown


def _proven(proof: Proof) -> str:
    text = f"chain proven: {proof.records} records in {proof.segments} segments"
    if proof.dropped:
        text += f", {proof.dropped} older segments dropped"
    return f"{text}, head {proof.head}"
