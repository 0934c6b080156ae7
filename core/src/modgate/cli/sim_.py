"""`modgate sim`: what another fleet, load or promise would have made of one's own requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modgate.cli.problems import plain_errors

if TYPE_CHECKING:
    from modgate.sim.report import Report, Times


@click.command("sim")
@click.option(
    "--receipts",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="what came: the lines of `modgate ledger export`",
)
@click.option(
    "--config", "path", required=True, type=click.Path(path_type=Path), help="the fleet to ask"
)
@click.option("--load", default=1.0, show_default=True, help="requests come so many times as fast")
@click.option(
    "--pace",
    "paces",
    multiple=True,
    metavar="NEW=OLD[:TIMES]",
    help="a backend without receipts is as fast as another, or so many times as fast",
)
@click.option("--seed", default=1, show_default=True, help="of what is decided by lot")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of tables")
def command(
    receipts: Path, path: Path, load: float, paces: tuple[str, ...], seed: int, as_json: bool
) -> None:
    """Replay RECEIPTS before the fleet of a configuration, in virtual time.

    How fast engines are is taken from the receipts; the rest is what the gateway runs. Beside each
    prediction stands what was.
    """
    from modgate.api.surface import dump
    from modgate.sim.paces import pace_of
    from modgate.sim.simulate import simulate
    from modgate.sim.trouble import Trouble
    from modgate.snapshot.blueprint import blueprint_of

    with plain_errors():
        made = blueprint_of(path)
        try:
            said = [pace_of(each) for each in paces]
            found = simulate(receipts, made, load=load, paces=said, seed=seed)
        except Trouble as trouble:
            raise click.ClickException(str(trouble)) from None
    if as_json:
        click.echo(dump(found.plain()))
    else:
        _print(found)


def _print(found: Report) -> None:
    from modgate.cli.rows import print_rows

    left_out = f", {found.left_out} that no engine saw left out" if found.left_out else ""
    click.echo(
        f"{found.requests} requests{left_out}; {found.past_seconds:.1f} s then,"
        f" {found.seconds:.1f} s at {found.load:g} times the load"
    )
    if found.unplayed:
        click.echo(f"not replayed of this file: {', '.join(found.unplayed)}")
    click.echo()
    head = ("class", "modality", "", "requests", "kept %", "p50 s", "p95 s", "p99 s")
    rows = []
    for row in found.rows:
        name = row.slo or "(none)"
        rows.append((name, row.modality, "then", row.requests, *_cells(row.past)))
        rows.append((name, row.modality, "replayed", row.requests, *_cells(row.now)))
    print_rows(head, rows, None)
    click.echo()
    print_rows(
        ("class", "modality", "best effort", "queued", "queued p95 s", "refused"),
        [
            (
                *(row.slo or "(none)", row.modality),
                *(row.best_effort, row.queued, f"{row.queued_p95_s:.3f}", row.refused),
            )
            for row in found.rows
        ],
        None,
    )
    click.echo()
    print_rows(
        ("backend", "slots", "calls then", "used then %", "calls", "used %"),
        [
            (
                *(use.backend, use.slots, use.past_calls, f"{100 * use.past_used:.1f}"),
                *(use.calls, f"{100 * use.used:.1f}"),
            )
            for use in found.uses
        ],
        None,
    )


def _cells(times: Times) -> tuple[str, str, str, str]:
    return (
        f"{times.kept:.1f}",
        f"{times.p50_s:.3f}",
        f"{times.p95_s:.3f}",
        f"{times.p99_s:.3f}",
    )
