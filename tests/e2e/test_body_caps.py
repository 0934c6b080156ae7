"""What a request's body may have at most, in bytes that are kept in memory and in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateways import start
from oracle.engine import ScriptedEngine

PARTS_AT_MOST, TEXT_AT_MOST = 128, 1 << 20  # RFD 72; algorithms.md 9
OWN_BYTES = 2 << 20
CHAT = b'{"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}'
FORM = "/v1/audio/transcriptions"


@pytest.fixture
async def client(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[httpx.AsyncClient]:
    tenants = {"acme": f"limits = {{ body_bytes = {OWN_BYTES} }}"}
    async with (
        await start(tmp_path, [{"url": engine.url}], tenants=tenants) as running,
        httpx.AsyncClient(base_url=running.url, headers=running.headers) as made,
    ):
        yield made


@pytest.mark.parametrize(("size", "status"), [(OWN_BYTES, 200), (OWN_BYTES + 1, 413)])
async def test_a_body_fits_into_what_its_tenant_may_hold_to_the_last_byte(
    client: httpx.AsyncClient, size: int, status: int
) -> None:
    reply = await client.post(
        "/v1/chat/completions",
        content=CHAT.ljust(size),
        headers={"Content-Type": "application/json"},
    )

    assert reply.status_code == status, reply.text


async def refusal(client: httpx.AsyncClient, texts: list[int]) -> tuple[int, str]:
    """What a form of so many text fields of so many bytes is told, and a file."""
    fields = {f"field{number}": "x" * size for number, size in enumerate(texts)}
    reply = await client.post(FORM, data=fields, files={"file": ("a.wav", b"RIFF")})
    return reply.status_code, reply.json()["error"]["message"]


async def test_a_forms_text_is_held_as_a_body_is(client: httpx.AsyncClient) -> None:
    status, told = await refusal(client, [TEXT_AT_MOST, TEXT_AT_MOST, 1])

    assert (status, "body_bytes that you may hold" in told) == (413, True), told


async def test_one_field_of_a_form_has_a_bound_of_its_own(client: httpx.AsyncClient) -> None:
    status, told = await refusal(client, [TEXT_AT_MOST + 1])

    assert (status, f"more than {TEXT_AT_MOST} bytes" in told) == (413, True), told


async def test_a_form_has_no_more_parts_than_that(client: httpx.AsyncClient) -> None:
    _, told = await refusal(client, [1] * (PARTS_AT_MOST - 1))
    status, refused = await refusal(client, [1] * PARTS_AT_MOST)

    assert "form parts" not in told
    assert (status, refused) == (400, f"more than {PARTS_AT_MOST} form parts")
