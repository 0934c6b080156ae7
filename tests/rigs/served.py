"""`modgate serve` as a process of its own, with the file that it serves."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import free_port

START_S, STOP_S = 60.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Where it listens, and its process."""

    port: int
    admin_port: int
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        """The public address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The admin address."""
        return f"http://127.0.0.1:{self.admin_port}"


@asynccontextmanager
async def served(config: Path) -> AsyncIterator[Served]:
    """Serve the file, whose ports are 0; what it says goes to `gateway.out` beside it.

    AssertionError when it does not start, or stop, as it should.
    """
    port, admin_port = free_port(), free_port()
    _write_ports(config, port, admin_port)
    output = config.with_name("gateway.out")
    command = [str(Path(sys.executable).with_name("modgate")), "serve", str(config)]
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*command, stdout=file, stderr=file)
    try:
        await _listens(port, process, output)
        yield Served(port=port, admin_port=admin_port, process=process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), STOP_S)
    assert code == 0, _end_of(output)


def _write_ports(config: Path, *ports: int) -> None:
    text = config.read_text()
    for port in ports:
        text = text.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    config.write_text(text)


async def _listens(port: int, process: asyncio.subprocess.Process, output: Path) -> None:
    until = time.monotonic() + START_S
    while process.returncode is None and time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError(f"`modgate serve` did not start: {_end_of(output)}")


def _end_of(output: Path) -> str:
    return output.read_text()[-4000:]
