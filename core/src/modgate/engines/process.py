"""One process of a local engine: the lines that it reports, its last words, and its end.

asyncio's own wait for a process lasts as long as anybody holds its pipes, and an engine may have
processes of its own.  Here it ends when the process does, and takes these along.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

LINE_AT_MOST, LAST_WORDS_AT_MOST = 1 << 16, 2000  # bytes
LAST_WORDS_S = 1.0  # for what a process wrote before it ended
STDOUT = 1

Report = Callable[[bytes], None]


class EngineProcess:
    """A running process, in a session of its own: a terminal's Ctrl-C is not for it.

    `pid`: its number, and its group's.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, heard: _Heard) -> None:
        self._transport = transport
        self._heard = heard
        self.pid = transport.get_pid()
        self._group_ended = False

    @staticmethod
    async def start(
        command: Sequence[str], report: Report, env: Mapping[str, str]
    ) -> EngineProcess:
        """A new process.  `report`: is called with each line that it prints."""
        transport, heard = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Heard(report),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        return EngineProcess(transport, heard)

    @property
    def code(self) -> int | None:
        """How it ended, as the system tells it."""
        return self._transport.get_returncode()

    async def last_words(self) -> str:
        """Wait until it has ended; the last line of its error output."""
        await self._end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.all.wait(), LAST_WORDS_S)
        return self._heard.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]

    async def stop(self, within_s: float) -> None:
        """Ask it to end, unless it has, and make it so after this time."""
        if self.code is None:
            self._transport.terminate()
        try:
            await asyncio.wait_for(self._end(), within_s)
        except TimeoutError:
            if self.code is None:
                self._transport.kill()
            await self._end()
        self._transport.close()

    async def _end(self) -> None:
        await self._heard.end.wait()
        if not self._group_ended:  # once: the number may be somebody else's later
            self._group_ended = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class _Heard(asyncio.SubprocessProtocol):
    """What the transport tells.  `end`: of the process; `all`: nobody can write any more."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._line = b""
        self._pipes = 2
        self.errors = b""
        self.end = asyncio.Event()
        self.all = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        if fd != STDOUT:
            self.errors = (self.errors + data)[-LAST_WORDS_AT_MOST:]
            return
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[-LINE_AT_MOST:]
        for line in lines:
            self._report(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Nobody can write there any more."""
        self._pipes -= 1
        if self._pipes == 0:
            self.all.set()

    def process_exited(self) -> None:
        """It has ended."""
        self.end.set()
