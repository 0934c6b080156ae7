from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from modgate.api.authenticator import Lookup
from modgate.upstream import documents
from modgate.upstream.documents import AT_MOST, NotHad, get, look_up


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[web.BaseRequest]]]:
    asked: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request)
        match request.path:
            case "/good":
                return web.Response(body=b"{}", headers={"set-cookie": "a=b"})
            case "/elsewhere":
                return web.Response(status=302, headers={"location": "/good"})
            case "/large":
                return web.Response(body=b"x" * (AT_MOST + 1))
            case "/never":
                await asyncio.sleep(30)
        return web.Response(status=404, body=b"what is here")

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


async def test_a_document_comes_without_cookies_of_the_one_before(
    server: tuple[str, list[web.BaseRequest]],
) -> None:
    url, asked = server

    assert [await get(f"{url}/good"), await get(f"{url}/good")] == [b"{}", b"{}"]
    assert [request.headers.get("cookie") for request in asked] == [None, None]


@pytest.mark.parametrize("path", ["/elsewhere", "/large", "/never", "/absent"])
async def test_what_is_not_the_document_is_not_had(
    path: str, server: tuple[str, list[web.BaseRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "TIMEOUT_S", 0.3)
    url, asked = server
    with pytest.raises(NotHad):
        await get(url + path)

    assert len(asked) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://", "nothing", "http://no.invalid/"])
async def test_a_place_that_is_none_is_not_had(url: str) -> None:
    with pytest.raises(NotHad):
        await get(url)


async def test_a_lookup_is_told_whatever_the_server_answers(
    server: tuple[str, list[web.BaseRequest]],
) -> None:
    url, asked = server
    found = await look_up(
        Lookup(url=f"{url}/absent", method="POST", headers={"x-own": "1"}, body=b"b")
    )

    assert (found.status, found.body) == (404, b"what is here")
    assert (asked[0].method, asked[0].headers["x-own"]) == ("POST", "1")
