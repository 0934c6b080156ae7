"""What a stream holds for as long as it lasts, which may be minutes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, Script

PROMPT, STREAMS = 200_000, 10
OURS = ("*/modgate/*", "*/aiohttp/web_protocol.py", "*/aiohttp/streams.py")
BESIDES = 30_000  # bytes of a stream that are not its prompt
WITHIN_S = 10.0


async def opened(running: Running, body: bytes) -> asyncio.StreamWriter:
    """A stream whose first event came."""
    reader, writer = await asyncio.open_connection(*running.app.public_address)
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway"]
    lines += [f"Authorization: Bearer {running.key}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    async with asyncio.timeout(WITHIN_S):
        await reader.readuntil(b"data: ")
    return writer


@pytest.mark.slow
async def test_a_prompt_is_held_once_while_its_stream_lasts(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda _: Script(tokens=5, fault=Fault(kind="silence", after=1))
    body = ask.chat(1, model="chat", stream=True, text="y" * PROMPT).body
    async with await start(tmp_path, [{"url": engine.url, "slots": 2 * STREAMS}]) as running:
        writers = [await opened(running, body)]
        gc.collect()
        tracemalloc.start()
        try:
            writers += [await opened(running, body) for _ in range(STREAMS)]
            gc.collect()
            held = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        for writer in writers:
            writer.close()

    ours = held.filter_traces(
        [tracemalloc.Filter(inclusive=True, filename_pattern=each) for each in OURS]
    )
    each = sum(trace.size for trace in ours.traces) / STREAMS
    assert PROMPT < each < PROMPT + BESIDES
