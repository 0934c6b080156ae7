"""`modgate ledger`: whether it is whole, and what it may lack."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from modgate.cli.problems import plain_errors
from modgate.cli.rows import ledger_of, spanning, unbroken

if TYPE_CHECKING:
    from modgate.api.secret import Secret
    from modgate.api.shipment import LedgerSink
    from modgate.ledger.hearing import Hearing
    from modgate.ledger.records import Ended
    from modgate.ledger.verify import Report

F = TypeVar("F", bound=Callable[..., None])


@click.group("ledger")
def command() -> None:
    """Prove that the ledger is whole, and say what it may lack."""


def _whose(wrapped: F) -> F:
    """The options that say which ledger is meant."""
    for option in (
        click.option("--key-file", type=click.Path(path_type=Path), help="the ledger's key"),
        click.option("--directory", type=click.Path(path_type=Path), help="the state directory"),
        click.option("--config", "path", type=click.Path(path_type=Path), help="whose ledger"),
    ):
        wrapped = option(wrapped)
    return wrapped


@command.command("verify")
@_whose
@click.option("--anchor", type=click.Path(path_type=Path), help="an anchor file to hold it against")
@click.option("--first", default=1, help="segments before this one were moved away on purpose")
def verify(
    path: Path | None,
    directory: Path | None,
    key_file: Path | None,
    anchor: Path | None,
    first: int,
) -> None:
    """Read every frame and hold the ledger against what its sinks and its anchor saw.

    Exit code 1 for an edited byte (also when its checksum was made anew), a removed record or
    segment, and an end that was cut off.  The gateway may run meanwhile.
    """
    from modgate.ledger.verify import verify as verified

    with plain_errors():
        books = _books(path, directory, key_file, anchor)
        witnesses = list(books.hearing.witnesses())
        report = verified(books.ledger, books.key, witnesses, first=first)
    _print(report, len(witnesses))
    silent = books.hearing.silent
    for each in (*silent, *report.problems):
        click.echo(each, err=True)
    if silent or report.problems:
        sys.exit(1)


def _print(report: Report, witnesses: int) -> None:
    dropped = f", {report.dropped} segments dropped" if report.dropped else ""
    click.echo(f"{report.frames} frames in {report.segments} segments{dropped}")
    if report.unfinished:
        click.echo(f"{report.unfinished} bytes at the end are being written, or were torn")
    if witnesses:
        click.echo(f"{report.seen} of {witnesses} heads that were seen outside are of this ledger")
    else:
        click.echo("no sink and no anchor saw it: an end that was cut off would not be noticed")


@command.command("gaps")
@_whose
@click.option("--json", "as_json", is_flag=True, help="JSON in place of lines")
def gaps(path: Path | None, directory: Path | None, key_file: Path | None, as_json: bool) -> None:
    """Print what a crash, a full disk or a lost directory could have cost, and how much at most.

    Requests that a crash cut are billed by estimate; each has a line.
    """
    import msgspec

    from modgate.api.surface import dump
    from modgate.clock import iso
    from modgate.ledger.gaps import gaps as found

    with plain_errors():
        books = _books(path, directory, key_file, None)
        with unbroken(books.ledger):
            all_of_them = list(found(books.ledger, books.key))
    if as_json:
        click.echo(dump([msgspec.to_builtins(each) for each in all_of_them]))
        return
    for each in all_of_them:
        units = " ".join(f"{name}={count}" for name, count in each.units.items())
        bound = f"; at most: {each.bound}" if each.lost and each.bound else ""
        sign = "!" if each.lost else " "
        at = iso(each.at, "milliseconds")
        click.echo(f"{sign} {at} {each.text}{bound}{' ' + units if units else ''}")
    lost = sum(each.lost for each in all_of_them)
    click.echo(f"{len(all_of_them)} things to know, {lost} that may have lost bills", err=True)


@command.command("export")
@click.option("--config", "path", type=click.Path(path_type=Path), help="whose ledger")
@click.option("--directory", type=click.Path(path_type=Path), help="the state directory")
@spanning
def export(path: Path | None, directory: Path | None, begin: int | None, end: int | None) -> None:
    """Print each request as a JSON line, with its attempts and their times, as it was recorded.

    `modgate sim --receipts` replays these.  What was put right later is not in them.
    """
    from modgate.ledger.reader import rows

    with plain_errors():
        ledger = ledger_of(path, directory)
        since = float(begin or 0)
        with unbroken(ledger):
            for row in rows(ledger, since=since, passing_over=True):
                if since <= row.wall and (end is None or row.wall < end):
                    click.echo(_line(row))


def _line(row: Ended) -> bytes:
    import msgspec

    return msgspec.json.encode(row)


@dataclass(slots=True, eq=False)
class _Books:
    """A ledger, its key, and who saw it."""

    ledger: Path
    key: Secret
    hearing: Hearing


def _books(
    path: Path | None, directory: Path | None, key_file: Path | None, anchor: Path | None
) -> _Books:
    from modgate.api.secret import Secret
    from modgate.ledger.hearing import Hearing
    from modgate.ledger.sqlite_sink import FILE, SqliteConfig, SqliteSink
    from modgate.server.ledger import sinks_of
    from modgate.snapshot.blueprint import blueprint_of
    from modgate.snapshot.directories import default_directory

    sinks: dict[str, LedgerSink] = {}
    anchors = [anchor] if anchor is not None else []
    key: Secret | None = None
    if path is not None:
        made = blueprint_of(path)
        file = made.linked.file
        state = directory or file.state.directory or default_directory()
        key = file.ledger.key
        anchors += [file.ledger.anchor] if file.ledger.anchor is not None else []
        sinks = {name: make() for name, (make, *_) in sinks_of(made, state).items()}
    else:
        state = directory or default_directory()
        if (state / FILE).exists():
            sinks["sqlite"] = SqliteSink(SqliteConfig(), folder=state)
    ledger = ledger_of(None, state)
    if key_file is not None or key is None:
        key = Secret((key_file or state / "ledger-key").read_text().strip())
    return _Books(ledger=ledger, key=key, hearing=Hearing(sinks, anchors))
