"""The pace that a body must keep.  Source: algorithms.md 9 (1 KiB a second, after 5 s)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import HttpVersion11

from modgate.errors import BodyTimedOut
from modgate.http.ingress import Ingress
from modgate.spool import Spool


class Dripping:
    """A body whose pieces come at times; the clock is with them."""

    def __init__(self, pieces: list[tuple[float, int]]) -> None:
        self.now, self.total_bytes, self._pieces = 0.0, 0, pieces

    def at_eof(self) -> bool:
        return not self._pieces

    def read_nowait(self) -> bytes:
        return b""

    async def readany(self) -> bytes:
        self.now, size = self._pieces.pop(0)
        self.total_bytes += size
        return bytes(size)


async def read(folder: Path, pieces: list[tuple[float, int]]) -> int:
    content = Dripping(pieces)
    request: Any = SimpleNamespace(  # what is looked at of a request of aiohttp's
        headers={},
        content_type="application/json",
        content_length=None,
        version=HttpVersion11,
        content=content,
    )
    ingress = Ingress(request, lambda: content.now, idle_s=30.0, hold=lambda what, size: None)
    await ingress.body("json", 1 << 30, Spool(folder, 1 << 20).scope())
    return ingress.bytes_in


@pytest.mark.parametrize(
    "pieces",
    [
        [(5.0, 1)],
        [(6.0, 1024)],
        [(9.0, 4096)],
        [(1.0, 1 << 20), (10.0, 1), (16.0, 1024)],  # after 10 s it is measured anew
    ],
)
async def test_a_body_that_keeps_the_pace_is_read(
    tmp_path: Path, pieces: list[tuple[float, int]]
) -> None:
    assert await read(tmp_path, list(pieces)) == sum(size for _, size in pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        [(5.1, 1)],
        [(6.0, 1023)],
        [(9.0, 4095)],
        [(1.0, 1 << 20), (10.0, 1), (16.0, 1023)],
    ],
)
async def test_a_body_that_drips_is_refused(
    tmp_path: Path, pieces: list[tuple[float, int]]
) -> None:
    with pytest.raises(BodyTimedOut):
        await read(tmp_path, list(pieces))
