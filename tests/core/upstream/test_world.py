"""What discoverers ask of the world, over real sockets and files."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modgate.api.authenticator import Document
from modgate.api.discover import Away, Get, Line, Read, Resolve, Watch
from modgate.upstream.world import World

Serve = Callable[..., Awaitable[Any]]


@pytest.fixture
def world() -> World:
    return World()


async def said(request: web.Request) -> web.StreamResponse:
    if request.path == "/lines":
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"a"', b":1}\n\n{", b"}\n", b"x" * 100):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response
    if request.path == "/silent":
        await web.StreamResponse().prepare(request)
    if request.path in ("/stuck", "/silent"):
        await asyncio.sleep(5)
    if request.path == "/away":
        raise web.HTTPFound("/elsewhere")
    return web.json_response({"who": request.headers.get("Authorization", "")}, status=418)


async def test_a_document_is_had_whatever_its_status_with_the_token_of_the_moment(
    world: World, serve: Serve, tmp_path: Path
) -> None:
    site = await serve(said)
    token = tmp_path / "token"
    token.write_text("one\n")
    first = await world.get(Get(url=site.origin, token=token))
    token.write_text("two\n")
    second = await world.get(Get(url=site.origin, token=token))
    moved = await world.get(Get(url=f"{site.origin}/away"))

    assert (first.status, first.fields()) == (418, {"who": "Bearer one"})
    assert second.fields() == {"who": "Bearer two"}
    assert moved.status == 302


async def test_what_cannot_be_had_is_away_and_says_no_secret(
    world: World, serve: Serve, tmp_path: Path
) -> None:
    site = await serve(said)
    wants = [
        Get(url="http://127.0.0.1:1/?secret"),
        Get(url=f"{site.origin}/stuck?secret", within_s=0.1),
        Get(url=f"{site.origin}/?secret", at_most=3),
        Get(url=f"{site.origin}/?secret", token=tmp_path / "none"),
        Get(url="nothing:secret"),
    ]
    for want in wants:
        with pytest.raises(Away) as away:
            await world.get(want)
        assert "secret" not in str(away.value)


async def test_lines_come_whole_however_they_were_cut_and_end_with_the_reply(
    world: World, serve: Serve
) -> None:
    site = await serve(said)
    head, lines = await world.watch(Watch(url=f"{site.origin}/lines"))
    found = [line async for line in lines]
    other, none = await world.watch(Watch(url=site.origin))

    assert head == Line()
    assert found == [b'{"a":1}', b"{}"]  # what has no end is no line
    assert isinstance(other, Document)
    assert [line async for line in none] == []


async def test_a_watch_has_an_end_and_a_line_a_bound(world: World, serve: Serve) -> None:
    site = await serve(said)
    url = f"{site.origin}/lines"
    _, short = await world.watch(Watch(url=url, line_at_most=50))
    with pytest.raises(Away):
        [line async for line in short]
    _, late = await world.watch(Watch(url=f"{site.origin}/silent", within_s=0.5))
    with pytest.raises(Away):
        [line async for line in late]


async def test_a_watch_whose_head_does_not_come_is_away(world: World, serve: Serve) -> None:
    site = await serve(said)
    with pytest.raises(Away, match="TimeoutError"):
        await world.watch(Watch(url=f"{site.origin}/stuck", within_s=0.1))


async def test_the_api_servers_certificate_is_judged_by_the_file_that_is_named(
    world: World, serve: Serve, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    site = await serve(said, tls)
    url = site.origin.replace("127.0.0.1", "localhost")
    good = await world.get(Get(url=url, ca=cert))
    with pytest.raises(Away):
        await world.get(Get(url=url))

    assert good.status == 418


async def test_a_file_and_a_name_are_read_or_are_away(world: World, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    assert (await world.read(Read(path=tmp_path / "a"))).body == b"abc"
    assert "127.0.0.1" in (await world.resolve(Resolve(name="localhost"))).addresses
    for want in (Read(path=tmp_path / "b"), Read(path=tmp_path / "a", at_most=2)):
        with pytest.raises(Away):
            await world.read(want)
    with pytest.raises(Away):
        await world.resolve(Resolve(name="no-such-name.invalid"))
    world.close()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
async def test_what_is_no_file_is_away_and_holds_nobody(
    world: World, tmp_path: Path, kind: str
) -> None:
    """Nobody writes into the pipe: who opens it as a file waits for ever, in a thread."""
    path = tmp_path / "list.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    async with asyncio.timeout(5):
        with pytest.raises(Away, match=r"list\.toml cannot be read: "):
            await world.read(Read(path=path))
