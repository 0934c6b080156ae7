"""A reply that is sent again, to a client that does not read it: that one is dropped, too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from gateways import start
from oracle import requests as ask
from oracle.engine import ScriptedEngine
from oracle.faults import Piece, Script, huge_reply
from waiting import until

WHOLE = huge_reply(24 << 20)
KEPT = "[idempotency]\nbodies = true\nreply_bytes = '32MiB'\n"
PATIENT, STRICT = "client_stalled = '30s'", "client_stalled = '300ms'"


@pytest.mark.slow
async def test_a_client_that_does_not_read_what_is_sent_again_is_dropped(
    tmp_path: Path, engine: ScriptedEngine
) -> None:
    engine.script_for = lambda _: Script(pieces=(Piece(data=WHOLE),))
    request = ask.chat(1, model="chat")
    more = f"{KEPT}[timeouts]\n{PATIENT}\n"
    async with await start(tmp_path, [{"url": engine.url}], plugins=("llm",), more=more) as running:
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway", "Idempotency-Key: k"]
        lines += [f"Authorization: Bearer {running.key}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(request.body)}", "", ""]
        sent = "\r\n".join(lines).encode() + request.body
        reader, writer = await asyncio.open_connection(*running.app.public_address, limit=1024)
        writer.write(sent)
        told = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(told.lower().split(b"content-length: ")[1].split()[0]))
        await until(lambda: not running.app.state.limits.total)
        running.config.write_text(running.config.read_text().replace(PATIENT, STRICT))
        await running.app.reload()
        writer.write(sent)
        again = await reader.readuntil(b"\r\n\r\n")
        await until(lambda: not running.app.state.limits.total)
        writer.transport.abort()

    assert b"idempotent-replayed: true" in again.lower()
