"""Engines that take few inputs at once: a request of many is sent in pieces that they take.

Source: field.md row 25; wire.md 6.2 and 8.4 (TEI takes 32, where it is started without options).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateways import start

TAKES = 32
MANY = 100


class Tei:
    """As text-embeddings-inference is started without options; `calls`: items of each."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        items = asked.get("inputs") or asked.get("texts")
        self.calls.append(len(items))
        if len(items) > TAKES:
            told = f"batch size {len(items)} > maximum allowed batch size {TAKES}"
            return web.json_response({"error": told, "error_type": "Validation"}, status=422)
        if request.path == "/embed":
            return web.json_response([[float(each)] for each in items])
        return web.json_response([{"index": n, "score": 0.5} for n in range(len(items))])


@pytest.fixture
async def tei() -> AsyncIterator[tuple[Tei, str]]:
    engine = Tei()
    app = web.Application()
    app.router.add_post("/embed", engine.answer)
    app.router.add_post("/rerank", engine.answer)
    async with TestServer(app) as server:
        yield engine, str(server.make_url("/"))


@pytest.mark.parametrize("modality", ["embedding", "rerank"])
async def test_what_tei_takes_at_once_is_known_without_a_word_of_the_operator(
    tmp_path: Path, tei: tuple[Tei, str], modality: str
) -> None:
    engine, url = tei
    items = [str(number) for number in range(MANY)]
    asked: tuple[str, dict[str, object]] = {
        "embedding": ("/v1/embeddings", {"model": "m", "input": items}),
        "rerank": ("/v2/rerank", {"model": "m", "query": "q", "documents": items}),
    }[modality]
    async with (
        await start(
            tmp_path,
            [{"url": url, "family": "tei", "serves": {"m": "x"}}],
            plugins=[modality],
            models={"m": modality},
        ) as running,
        httpx.AsyncClient(base_url=running.url, headers=running.headers) as client,
    ):
        reply = await client.post(asked[0], json=asked[1])
    told = reply.json()

    assert reply.status_code == 200, told
    assert sorted(engine.calls) == [4, 32, 32, 32]
    if modality == "embedding":
        assert [row["embedding"] for row in told["data"]] == [[float(n)] for n in range(MANY)]
    else:
        assert [row["index"] for row in told["results"]] == list(range(MANY))
