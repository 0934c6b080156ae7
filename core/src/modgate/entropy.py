"""Random bytes for the names of requests and spans, fetched from the kernel many at a time."""

from __future__ import annotations

import os

FETCHED_BYTES = 4096


class Entropy:
    """Gives each byte once; the result is that of `os.urandom`, without a system call a name.

    Never for keys: what is to come lies in memory.
    """

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """So many bytes, at most FETCHED_BYTES."""
        at, end = self._at, self._at + count
        if end > len(self._bytes):
            self._bytes = os.urandom(FETCHED_BYTES)
            at, end = 0, count
        self._at = end
        return self._bytes[at:end]
