"""Decoder processes for tests, and a check that nothing of them is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from modgate.decoders.pool import Decoders
from modgate.decoders.process import DecoderLimits
from modgate.spool import Spool

FUNCTIONS = str(Path(__file__).parent / "functions")
sys.path.append(FUNCTIONS)  # as an installed plugin would be


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 64 << 20)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """Processes of ours, zombies too."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture
async def make(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Decoders]]:
    """Build Decoders with these limits; in the end no process or descriptor is left."""
    monkeypatch.setenv("PYTHONPATH", FUNCTIONS)
    before, others = descriptors(), children()
    made: list[Decoders] = []

    def build(*, processes: int = 1, streams: int = 1, **limits: Any) -> Decoders:
        decoders = Decoders(
            processes=processes,
            streams=streams,
            limits=DecoderLimits(**{"memory_bytes": 1 << 30, **limits}),
            directory=str(spool.directory),
        )
        made.append(decoders)
        return decoders

    yield build
    for decoders in made:
        await decoders.close()
    await asyncio.sleep(0)
    assert children() <= others
    assert descriptors() <= before


@pytest.fixture
def pids() -> Callable[[], set[str]]:
    """The decoder processes that run now."""
    return children
