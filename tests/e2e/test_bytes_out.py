"""The bytes of a reply in the bill, where its client leaves in the middle: what it read is in them.

Source: architecture.md 3 (`bytes_out`: bytes of reply bodies, which may have a price).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from gateways import start
from oracle import requests as ask
from oracle.engine import ScriptedEngine
from oracle.faults import Piece, Script, huge_reply
from waiting import until

from modgate.ledger.reader import rows

SAID_BYTES = 24 << 20
WHOLE = huge_reply(SAID_BYTES)


@pytest.mark.parametrize("reads", [1 << 20, SAID_BYTES], ids=["a part", "all of it"])
async def test_a_whole_reply_is_billed_as_far_as_its_client_read_it(
    tmp_path: Path, engine: ScriptedEngine, reads: int
) -> None:
    engine.script_for = lambda _: Script(pieces=(Piece(data=WHOLE),))
    request = ask.chat(1, model="chat")
    async with await start(tmp_path, [{"url": engine.url}], plugins=("llm",)) as running:
        reader, writer = await asyncio.open_connection(*running.app.public_address, limit=1024)
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway"]
        lines += [f"Authorization: Bearer {running.key}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(request.body)}", "", ""]
        writer.write("\r\n".join(lines).encode() + request.body)
        told = await reader.readuntil(b"\r\n\r\n")
        length = int(told.lower().split(b"content-length: ")[1].split()[0])
        read = 0
        while read < min(reads, length):
            read += len(await reader.read(1 << 16))
        if reads == SAID_BYTES:
            await reader.readexactly(length - read)
            read = length
            await until(lambda: list(rows(running.ledger)))
        writer.transport.abort()
        await until(lambda: list(rows(running.ledger)))
    [row] = rows(running.ledger)

    assert row.ending == ("ok" if read == length else "client_gone")
    assert read <= row.units["llm.bytes_out"] <= length
