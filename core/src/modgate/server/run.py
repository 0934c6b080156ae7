"""Running until told to stop: SIGTERM drains, SIGHUP reloads, a second SIGTERM leaves at once."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modgate.api.engine import EngineState
from modgate.observe.logs import LogSystem
from modgate.server.app import App
from modgate.server.banner import banner, engine_line
from modgate.snapshot.blueprint import DEMO_LEVEL, Overrides

log = logging.getLogger(__name__)

# Objects made, then collections of the younger generation.  The middle one is short: of the many
# objects that a reload makes it would look at all at once.
COLLECT_AFTER = (20_000, 5, 80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said.  `say` prints a line for a person."""

    path: Path | None
    say: Callable[[str], None]
    only: Sequence[str] | None = None
    directory: Path | None = None
    address: str | None = None
    admin_address: str | None = None
    log_level: str = ""

    def overrides(self) -> Overrides:
        """What takes the place of the file's values."""
        said = {
            ("listen", "address"): self.address,
            ("admin", "address"): self.admin_address,
            ("log", "level"): self.log_level,
        }
        return {path: value for path, value in said.items() if value}


async def run(options: Options) -> int:
    """Serve until a signal; the answer is that signal."""
    fileless = options.path is None
    logs = LogSystem(options.log_level or DEMO_LEVEL)

    def changed(name: str, state: EngineState) -> None:
        if fileless and (line := engine_line(name, state)):
            options.say(line)

    app = App(
        options.path,
        only=options.only,
        directory=options.directory,
        overrides=options.overrides(),
        changed=changed,
    )
    stop = 0
    try:
        await app.open()
        asyncio.get_running_loop().set_exception_handler(app.open_files.trouble)
        _leave_start_up_alone()
        logs.set_level(app.log_level)
        signalled = _heed_signals(app)
        for line in banner(app):  # whoever reads it may send one
            options.say(line)
        stop = await signalled
        ended = await _drained(app)
        log.info("stopped", extra={"drained": ended})
        return stop
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing is left to reload
        await app.close()
        if not logs.close():
            os._exit(0 if stop else 1)  # all is settled; the interpreter would wait for the reader


def _leave_start_up_alone() -> None:
    """The collector need not look again and again at what was made at the start and stays.

    Same result without this: it takes about a tenth of the processor time of a small request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _heed_signals(app: App) -> asyncio.Future[int]:
    """Signals count from now on; the answer is the one that ends it.

    SIGHUP is not the loop's: what is gets its default back on the way out, and a hangup in that
    moment would end the process with another status.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(app.reload_soon))
    return told


async def _drained(app: App) -> bool:
    """Drain, unless a second signal says at once."""
    loop = asyncio.get_running_loop()
    draining = loop.create_task(app.drain())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, draining.cancel)
    try:
        return await draining
    except asyncio.CancelledError:
        return False
