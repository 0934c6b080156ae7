"""The file that levels outlive their process in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from modgate.limits.account import OwnAccount
from modgate.limits.levels import Levels
from modgate.whole_file import write_whole

log = logging.getLogger(__name__)

WRITTEN_EVERY_S = 5.0

_L = TypeVar("_L", Levels, OwnAccount)


class KeptLevels:
    """Reads it, and writes it whole or not at all; what fails is logged, once for each reason.

    `written`: what need not be written, because it is as if it were in the file.
    """

    def __init__(self, path: Path, written: bytes | None = None) -> None:
        self._path = path
        self._written = written
        self._reason = ""  # why it could not be written last

    def read(self, kind: type[_L], now_ms: int) -> _L:
        """What was written: no levels where there is no file, or none that can be read."""
        try:
            return kind.read(self._path.read_bytes(), now_ms)
        except FileNotFoundError:
            return kind()
        except (OSError, msgspec.MsgspecError) as error:
            log.error("limit levels not read", extra=self._words(error))
            return kind()

    async def keep(self, levels: Callable[[], bytes], closing: asyncio.Event) -> None:
        """Write them every few seconds, and a last time when nobody changes them any more."""
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITTEN_EVERY_S):
                    await closing.wait()
            last = closing.is_set()
            written = levels()
            if written != self._written and await asyncio.to_thread(self.write, written):
                self._written = written

    def write(self, data: bytes) -> bool:
        """False when it cannot be written."""
        try:
            write_whole(self._path, data)
        except OSError as error:
            words = self._words(error)
            if words["reason"] != self._reason:
                log.error("limit levels not written", extra=words)
            self._reason = words["reason"]
            return False
        if self._reason:
            log.info("limit levels written again", extra={"file": str(self._path)})
            self._reason = ""
        return True

    def _words(self, error: Exception) -> dict[str, str]:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return {"file": str(self._path), "reason": reason}
