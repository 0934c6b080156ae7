"""A client that leaves closes the engine's connection within 100 ms, in every window."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from gateways import MODELS, start
from oracle.client import ClientRecord
from oracle.compare import gone_after_ms
from oracle.engine import ScriptedEngine
from oracle.mix import Mix, window
from oracle.play import play

NAMES = {modality: name for name, modality in MODELS.items()}
CASES = [
    (modality, at, stream, fan_out)
    for modality in MODELS.values()
    for at in ("headers", "first", "body")
    for stream in (False, True)
    for fan_out in (False, True)
    if not (stream and modality in ("ocr", "embedding", "rerank"))
    and not (fan_out and modality in ("llm", "vlm", "embedding"))
]
WITHIN_MS = 100.0
ROUNDS = 6
PATIENCE_S, LOOK_S = 2.0, 0.01


@pytest.mark.slow
async def test_the_engine_knows_within_100_ms_that_the_client_left(tmp_path: Path) -> None:
    planned = {
        tag: window(m, at, tag=tag, stream=stream, fan_out=fan_out, model=NAMES[m])
        for tag, (m, at, stream, fan_out) in enumerate(CASES * ROUNDS)
    }
    mix = Mix(seed=0, planned=planned)
    late: list[float] = []
    async with (
        ScriptedEngine(mix.script_for) as engine,
        await start(tmp_path, [{"url": engine.url, "slots": 256}]) as running,
    ):
        for one in planned.values():
            client = await play(one, running.url, [engine], key=running.key)
            late += await _known_after_ms(engine, client)
    late.sort()
    print(f"upstream closed after: n={len(late)} p50={late[len(late) // 2]:.1f} ms ", end="")
    print(f"p99={late[int(len(late) * 0.99)]:.1f} ms max={late[-1]:.1f} ms")

    assert len(late) >= 200
    assert late[int(len(late) * 0.99)] <= WITHIN_MS


async def _known_after_ms(engine: ScriptedEngine, client: ClientRecord) -> list[float]:
    """Wait until every call's end is known; one that never ends stays infinite and fails."""
    for _ in range(int(PATIENCE_S / LOOK_S)):
        late = gone_after_ms(engine.records, client)
        if math.inf not in late:
            return late
        await asyncio.sleep(LOOK_S)
    return late
