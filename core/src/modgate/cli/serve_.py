"""`modgate serve`: run the gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click

from modgate import tasks
from modgate.cli.problems import plain_errors

STANDARD_ERROR = 2


def _loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where the extra modgate[speed] is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _keep_standard_streams() -> None:
    """Where one was closed, no other file gets its number: what a child prints would go there."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(number)


@click.command("serve", short_help="Run the gateway.")
@click.argument("path", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--only", help="modalities to serve, without a file: llm,tts")
@click.option("--directory", type=click.Path(path_type=Path), help="state directory")
@click.option("--address", help="HOST:PORT of the public listener")
@click.option("--admin-address", help="HOST:PORT of the admin listener")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="least level of log lines; default: as configured, without a file: warning",
)
def command(
    path: Path | None,
    only: str | None,
    directory: Path | None,
    address: str | None,
    admin_address: str | None,
    log_level: str | None,
) -> None:
    """Run the gateway from FILE, or without one with every installed plugin and its local model.

    Without a file it listens on 127.0.0.1:8080 and prints a key and curl lines to try.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can reload: what it means is read now
    _keep_standard_streams()
    from modgate.server.run import Options, run

    if only is not None and path is not None:
        text = "--only is for the start without a file; with one, its [plugin.NAME] sections say it"
        raise click.UsageError(text)
    names = [name.strip() for name in only.split(",")] if only is not None else None
    options = Options(
        path=path,
        only=names,
        directory=directory,
        address=address,
        admin_address=admin_address,
        log_level=log_level or "",
        say=click.echo,
    )
    with plain_errors(), asyncio.Runner(loop_factory=_loop()) as runner:
        stop = tasks.stay(runner.get_loop(), run(options), runner.run)
    sys.exit(0 if stop in (signal.SIGTERM, signal.SIGINT) else 1)
