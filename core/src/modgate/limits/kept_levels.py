"""The file that levels outlive their process in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import msgspec

from modgate.limits.account import OwnAccount
from modgate.limits.levels import Levels
from modgate.whole_file import write_whole

log = logging.getLogger(__name__)

_L = TypeVar("_L", Levels, OwnAccount)


class KeptLevels:
    """Reads it, and writes it whole or not at all; what fails is logged, once for each reason."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
