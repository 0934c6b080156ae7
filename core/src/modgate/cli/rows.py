"""What `modgate usage` and `modgate cost` have in common: which rows, grouped how, printed how."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from modgate.api.json import Json

if TYPE_CHECKING:
    from modgate.ledger.stored import Whole

Format = Literal["table", "json", "csv"]
Command = TypeVar("Command", bound=Callable[..., None])
Answer = TypeVar("Answer")
TRIES = 8
GROUPS = "tenant, key, model, modality, region, day"


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A day, or a moment with its time, as the epoch second."""
    from modgate.clock import epoch_second

    try:
        return None if value is None else epoch_second(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _groups(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Names of groups, with commas between them."""
    from modgate.config.guess import did_you_mean
    from modgate.money.invoice import GROUPS as KNOWN

    names = [each.strip() for each in value.split(",")]
    for name in names:
        if name not in KNOWN:
            text = f"no group '{name}'{did_you_mean(name, KNOWN)}; there are: {GROUPS}"
            raise click.BadParameter(text, ctx, param)
    return tuple(dict.fromkeys(names))


def selected(command: Command) -> Command:
    """The options of both."""
    options = (
        click.option(
            "--config", "path", type=click.Path(path_type=Path), help="whose [state] directory"
        ),
        click.option(
            "--directory", type=click.Path(path_type=Path), help="the state directory itself"
        ),
        click.option("--tenant", help="this tenant only"),
        click.option(
            "--by",
            callback=_groups,
            default="tenant,model",
            show_default=True,
            metavar="GROUPS",
            help=f"of: {GROUPS}",
        ),
        click.option("--json", "form", flag_value="json", help="JSON in place of a table"),
        click.option("--csv", "form", flag_value="csv", help="CSV in place of a table"),
    )
    for option in reversed(options):
        command = option(command)
    return spanning(command)


def spanning(command: Command) -> Command:
    """The options of the time that is meant."""
    options = (
        click.option(
            "--from",
            "begin",
            callback=_moment,
            metavar="DAY",
            help="requests that began then or later",
        ),
        click.option("--to", "end", callback=_moment, metavar="DAY", help="and before this"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ledger_of(path: Path | None, directory: Path | None) -> Path:
    """The ledger's folder; ClickException when there is none."""
    from modgate.config.decode import decode
    from modgate.config.source import read
    from modgate.snapshot.directories import default_directory

    if directory is None and path is not None:
        directory = decode(read(path)).state.directory
    ledger = (directory or default_directory()) / "ledger"
    if not ledger.is_dir():
        text = f"there is no ledger in {ledger.parent}: is that a gateway's state directory?"
        raise click.ClickException(text)
    return ledger


@contextmanager
def unbroken(ledger: Path) -> Iterator[None]:
    """ClickException for a ledger that somebody else changed."""
    from modgate.ledger.frames import Tampered

    try:
        yield
    except Tampered as error:
        text = f"the ledger in {ledger} was changed by somebody else: {error}"
        raise click.ClickException(f"{text}; see modgate ledger verify") from None


def asked(ledger: Path, ask: Callable[[Whole], Answer]) -> Answer:
    """What `ask` makes of the ledger with what its embedded sink has.

    From the beginning where a running gateway drops a segment that was to be read: what was in it,
    the sink has by now.  ClickException where they cannot be read.
    """
    from modgate.ledger.sqlite_sink import FILE
    from modgate.ledger.stored import NotRead, whole

    for _ in range(TRIES):
        try:
            with unbroken(ledger), whole(ledger, ledger.parent / FILE) as found:
                return ask(found)
        except NotRead as error:
            raise click.ClickException(str(error)) from None
        except FileNotFoundError:
            continue
    raise click.ClickException("segments are dropped faster than they are read: ask for less time")


def print_rows(names: Sequence[str], rows: Sequence[Sequence[Json]], form: Format | None) -> None:
    """Print rows as a table, as JSON objects, or as CSV with a first line of names."""
    from modgate.api.surface import dump

    if form == "json":
        click.echo(dump([dict(zip(names, row, strict=True)) for row in rows]))
    elif form == "csv":
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([[_safe(each) for each in row] for row in rows])
        click.echo(written.getvalue(), nl=False)
    else:
        texts = [[_cell(each) for each in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(names, *texts, strict=True)]
        right = [any(isinstance(row[at], int) for row in rows) for at in range(len(names))]
        for line in (names, *texts):
            cells = [
                text.rjust(width) if aligned else text.ljust(width)
                for text, width, aligned in zip(line, widths, right, strict=True)
            ]
            click.echo("  ".join(cells).rstrip())


def _safe(value: Json) -> Json:
    """A spreadsheet runs a cell that begins like a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _cell(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
