"""How many files a gateway has open, of as many as it may, and word of it before none is left.

Nobody can be told when a connection is taken: uvloop takes it and closes it at once, asyncio tries
again for as many times as may wait.  So the files are counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from math import inf

from modgate.clock import Clock
from modgate.observe.metrics import Registry
from modgate.out_of_files import OUT_OF_FILES

log = logging.getLogger(__name__)

FEW = 0.9  # of the limit, from which on it is told
AGAIN_S = 60.0
FOLDER = "/proc/self/fd"
DO = "raise the hard limit: LimitNOFILE of systemd, --ulimit nofile of docker, ulimit -Hn"


class OpenFiles:
    """`count` as of the last look, of `at_most`; sockets are files, too."""

    def __init__(self, clock: Clock, registry: Registry) -> None:
        self._clock = clock
        self._told_at = -inf
        self.count = 0
        self.at_most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        registry.gauge(
            "modgate_open_files",
            "files and sockets that this process has open",
            lambda: {(): self.count},
        )
        registry.gauge(
            "modgate_open_files_at_most",
            "how many it may have; beyond, new connections are reset",
            lambda: {(): self.at_most},
        )

    async def look(self) -> None:
        """Count them, beside the event loop, and tell when there are few left, or enough again."""
        self.at_most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.count = await asyncio.to_thread(_counted, self.at_most)
        if 0 < self.at_most * FEW <= self.count:  # without a limit it is below 0
            self._tell()
        elif self._told_at > -inf:
            self._told_at = -inf
            log.warning("open files are enough again", extra=self._figures())

    def trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """The event loop's handler: a file that it lacks is told once, and not for each try."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
            self.count = self.at_most
            self._tell()
        else:
            loop.default_exception_handler(context)

    def _tell(self) -> None:
        now = self._clock.now()
        if now - self._told_at >= AGAIN_S:
            self._told_at = now
            log.error("open files run out", extra={**self._figures(), "do": DO})

    def _figures(self) -> dict[str, int]:
        return {"open": self.count, "at_most": self.at_most}


def _counted(at_most: int) -> int:
    """How many are open; all, where there is none left to look by."""
    try:
        return len(os.listdir(FOLDER)) - 1
    except OSError as error:
        return at_most if error.errno in OUT_OF_FILES else 0
