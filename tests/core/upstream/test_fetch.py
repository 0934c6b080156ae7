"""Fetching a client's URL over real sockets: what comes, how much, how long."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modgate.clock import SystemClock
from modgate.errors import Overloaded
from modgate.spool import Spool
from modgate.upstream.fetch import Fetcher

CLOCK = SystemClock()
IMAGE = frozenset({"image"})
Ask = Callable[..., Awaitable[Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def test_a_file_is_fetched_into_the_spool_and_known_by_its_bytes(
    serve: Ask, spool: Spool, get: Ask, picture: Handler, png: bytes
) -> None:
    site = await serve(picture)

    file = await get(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/a.txt?b=c%20d#e")

    assert (file.read(), file.kind, spool.used) == (png, "image/png", len(png))
    assert site.requests[0].raw_path == "/a.txt?b=c%20d"


async def test_a_host_may_be_an_ipv6_address(
    serve: Ask, spool: Spool, get: Ask, picture: Handler, png: bytes
) -> None:
    try:
        site = await serve(picture, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")

    file = await get(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/a?b")

    assert file.read() == png
    assert site.requests[0].headers["Host"] == f"[::1]:{site.port}"


async def test_an_ipv6_address_where_nobody_listens_is_the_clients_fault(
    spool: Spool, refusal: Ask
) -> None:
    error = await refusal(Fetcher(["http://[::1]:1"], CLOCK), spool, "http://[::1]:1/")

    assert error.code == "failed_to_download_image"


async def test_nothing_of_the_client_or_the_machine_goes_along(
    serve: Ask, spool: Spool, get: Ask, picture: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def baking(request: web.Request) -> web.StreamResponse:
        if request.path == "/0":
            headers = {"Location": "/1", "Set-Cookie": "a=b; Path=/"}
            return web.Response(status=302, headers=headers)
        return await picture(request)

    site = await serve(baking)

    await get(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/0")

    allowed = {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}
    assert [set(request.headers) for request in site.requests] == [allowed] * 2
    assert site.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed_relative_ones_too(
    status: int, serve: Ask, spool: Spool, get: Ask, picture: Handler, leading: Callable[..., Any]
) -> None:
    redirecting = leading("/1", "./2", "?x=1", status=status)

    async def handler(request: web.Request) -> web.StreamResponse:
        return await (picture if request.query else redirecting)(request)

    site = await serve(handler)

    await get(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/0")

    assert len(site.requests) == 4


async def test_a_fourth_redirect_is_not_followed(
    serve: Ask, spool: Spool, refusal: Ask, leading: Callable[..., Any]
) -> None:
    site = await serve(leading("/1", "/2", "/3", "/4"))

    error = await refusal(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/0")

    assert "more than 3 times" in error.message
    assert len(site.requests) == 4


async def test_a_slow_server_is_left_after_the_time_for_everything(
    serve: Ask, spool: Spool, refusal: Ask, png: bytes
) -> None:
    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(png)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    site = await serve(dripping)
    fetcher = Fetcher([site.origin], CLOCK, timeout_s=0.2)
    began = CLOCK.now()

    error = await refusal(fetcher, spool, f"{site.origin}/x")

    assert "within 0.2 seconds" in error.message
    assert CLOCK.now() - began < 2
    assert (spool.used, spool.files) == (0, 0)


async def test_a_resolver_that_never_answers_is_left_too(spool: Spool, refusal: Ask) -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    fetcher = Fetcher(["*"], CLOCK, timeout_s=0.05, resolver=silent)

    error = await refusal(fetcher, spool, "https://example.com/")

    assert "within 0.05 seconds" in error.message


@pytest.mark.parametrize("declared", [True, False])
async def test_a_file_over_its_size_is_refused_declared_or_not(
    declared: bool, serve: Ask, spool: Spool, refusal: Ask, png: bytes
) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if declared:
            response.content_length = 1 << 30
        await response.prepare(request)
        for _ in range(200):
            await response.write(png)
        return response

    site = await serve(large)
    fetcher = Fetcher([site.origin], CLOCK)

    error = await refusal(fetcher, spool, f"{site.origin}/x", at_most=10_000)

    assert error.code == "image_too_large"
    assert (spool.used, spool.files) == (0, 0)


async def test_a_file_of_exactly_its_size_is_taken(
    serve: Ask, spool: Spool, get: Ask, picture: Handler, png: bytes
) -> None:
    site = await serve(picture)
    fetcher = Fetcher([site.origin], CLOCK)

    file = await get(fetcher, spool, f"{site.origin}/x", at_most=len(png))

    assert file.size == len(png)


@pytest.mark.parametrize(
    ("body", "kinds", "code"),
    [
        (b"<html>" + bytes(5000), IMAGE, "invalid_image_format"),
        (b"", IMAGE, "invalid_image_format"),
        (b"%PDF-1.7", IMAGE, "invalid_image_format"),
        (b"GIF89a", frozenset({"png"}), "invalid_image_format"),
        (b"GIF89a", frozenset({"audio"}), "invalid_audio"),
        (b"GIF89a", frozenset({"pdf", "audio"}), "invalid_file_format"),
        (b"text", frozenset({"pdf", "image"}), "invalid_file_format"),
    ],
)
async def test_a_file_of_another_kind_is_refused_whatever_its_label(
    body: bytes, kinds: frozenset[str], code: str, serve: Ask, spool: Spool, refusal: Ask
) -> None:
    async def labelled(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="image/png")

    site = await serve(labelled)

    error = await refusal(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/x", kinds=kinds)

    assert error.code == code
    assert spool.files == 0


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500])
async def test_a_status_other_than_200_is_said(
    status: int, serve: Ask, spool: Spool, refusal: Ask
) -> None:
    async def failing(request: web.Request) -> web.Response:
        return web.Response(status=status)

    site = await serve(failing)

    error = await refusal(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/x")

    assert (error.code, str(status) in error.message) == ("failed_to_download_image", True)


async def test_an_encoding_that_was_not_asked_for_is_refused(
    serve: Ask, spool: Spool, refusal: Ask, png: bytes
) -> None:
    async def packed(request: web.Request) -> web.Response:
        return web.Response(body=png, headers={"Content-Encoding": "gzip"})

    site = await serve(packed)

    error = await refusal(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/x")

    assert "encoding" in error.message


async def test_a_body_that_breaks_off_leaves_nothing(
    serve: Ask, spool: Spool, refusal: Ask, png: bytes
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100_000
        await response.prepare(request)
        await response.write(png)
        assert request.transport is not None
        request.transport.close()
        return response

    site = await serve(half)

    error = await refusal(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/x")

    assert "broke off" in error.message
    assert (spool.used, spool.files) == (0, 0)


async def test_a_full_spool_is_not_the_clients_fault(
    serve: Ask, tmp_path: Path, get: Ask, picture: Handler
) -> None:
    spool = Spool(tmp_path, 2000)
    site = await serve(picture)

    with pytest.raises(Overloaded):
        await get(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/x")

    assert (spool.used, spool.files) == (0, 0)


async def test_leaving_closes_what_was_opened(
    serve: Ask, spool: Spool, get: Ask, png: bytes
) -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def hanging(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(png)
        reached.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return response

    site = await serve(hanging)
    before = len(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(get(Fetcher([site.origin], CLOCK), spool, f"{site.origin}/x"))
    await asyncio.wait_for(reached.wait(), 5)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(left.wait(), 5)
    await asyncio.sleep(0)

    assert len(os.listdir("/proc/self/fd")) <= before
    assert (spool.used, spool.files) == (0, 0)


async def test_the_machines_own_resolver_finds_localhost(
    serve: Ask, spool: Spool, get: Ask, picture: Handler, png: bytes
) -> None:
    site = await serve(picture)
    origin = f"http://localhost:{site.port}"

    file = await get(Fetcher([origin], CLOCK), spool, f"{origin}/x")

    assert file.size == len(png)
