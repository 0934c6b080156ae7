"""The bytes of a form in the bill are those that its client sent, boundaries and heads included.

Source: architecture.md 3 (`bytes_in`: bytes of request bodies, which may have a price).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateways import start
from oracle import requests as ask
from oracle.engine import ScriptedEngine

from modgate.ledger.reader import rows

BEHIND = b"what stands behind the last boundary is no part, and was sent all the same\r\n" * 4


@pytest.mark.parametrize("behind", [b"", BEHIND], ids=["nothing behind", "an epilogue"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("status", [200, 400])
async def test_a_form_is_billed_as_long_as_it_was_sent(
    tmp_path: Path, engine: ScriptedEngine, behind: bytes, chunked: bool, status: int
) -> None:
    form = ask.transcription(1, model="ears", duration_ms=300)
    body = form.body + behind
    if status == 400:
        body = body.replace(b"RIFF", b"RAFF", 1)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    async with (
        await start(tmp_path, [{"url": engine.url}], plugins=("asr",)) as running,
        httpx.AsyncClient(headers=running.headers) as client,
    ):
        headers = {"content-type": form.content_type}
        sent = pieces() if chunked else body
        reply = await client.post(running.url + form.path, content=sent, headers=headers)
    [row] = rows(running.ledger)

    assert (reply.status_code, row.status) == (status, status)
    assert row.units["asr.bytes_in"] == len(body)
