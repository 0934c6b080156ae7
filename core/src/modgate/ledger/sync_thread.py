"""The ledger's own thread: the disk is waited for there, and not in the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

IDLE_S = 1.0
STOP_S = 5.0


class SyncThread:
    """Calls `upkeep` again and again, with whether anything was written since it last was called.

    It is called soon after something was written, at most every `every_s`, and each `IDLE_S` when
    nothing was.

    `written`: set it after a write.
    """

    def __init__(self, upkeep: Callable[[bool], None], every_s: float) -> None:
        self.written = threading.Event()
        self._upkeep = upkeep
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-sync", daemon=True)

    def start(self) -> None:
        """Begin; the first call comes at once."""
        self.written.set()
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def rest(self, seconds: float) -> bool:
        """Wait, for use in `upkeep`; False when it was told to stop meanwhile."""
        return not self._stopping.wait(seconds)

    def stop(self) -> None:
        """Tell it to stop, and wait for that, at most `STOP_S`."""
        self._stopping.set()
        self.written.set()
        self._thread.join(timeout=STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            written = self.written.wait(IDLE_S)
            if written:
                self.written.clear()
            self._upkeep(written)
            self._stopping.wait(self._every_s)
