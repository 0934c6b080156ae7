"""What a body may weigh while it is read, and how many lines a form has."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from modgate.api.body import Body
from modgate.errors import GatewayError, Refused
from modgate.http.connection import Server, framing_refusal
from modgate.http.ingress import LINES_AT_MOST, Ingress
from modgate.spool import Spool

AT_MOST = 1 << 20
HEAD = b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n"
FORM = HEAD + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nears\r\n--b--\r\n'

Read = Callable[[], "asyncio.Future[Body]"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def reading(folder: Path, kind: str) -> AsyncIterator[tuple[asyncio.StreamWriter, Read]]:
    """A client of a server that reads one body, and what becomes of that."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Body] = loop.create_future()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        ingress = Ingress(request, loop.time, idle_s=30.0, hold=lambda what, size: None)
        try:
            done.set_result(await ingress.body(kind, AT_MOST, Spool(folder, AT_MOST).scope()))
        except GatewayError as error:
            done.set_exception(error)
        return web.Response()

    server = await loop.create_server(Server(handler, framing_refusal(str)), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield writer, lambda: done
    finally:
        writer.transport.abort()
        server.close()


@pytest.mark.slow
async def test_a_body_of_many_small_pieces_weighs_what_it_has(tmp_path: Path) -> None:
    pieces = 20_000
    async with reading(tmp_path, "json") as (writer, body):
        writer.write(HEAD + b"\r\n")
        tracemalloc.start()
        for _ in range(pieces):
            writer.write(chunk(b"ab"))
            await asyncio.sleep(0)  # each is read by itself
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        writer.write(b"0\r\n\r\n")

        assert (await body()).size == 2 * pieces
    assert held < 10 * 2 * pieces


@pytest.mark.parametrize("lines", [0, 1000])
async def test_what_stands_before_a_form_is_passed_over(tmp_path: Path, lines: int) -> None:
    async with reading(tmp_path, "form") as (writer, body):
        writer.write(FORM + chunk(b"\r\n" * lines + PART) + b"0\r\n\r\n")

        assert [(part.name, part.content) for part in (await body()).parts] == [("model", b"ears")]


async def test_a_form_of_nothing_but_ends_of_lines_is_none(tmp_path: Path) -> None:
    async with reading(tmp_path, "form") as (writer, body):
        writer.write(FORM + chunk(b"\n" * (LINES_AT_MOST + 1)))

        with pytest.raises(Refused, match="could not be parsed"):
            await body()


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (b"--b\r\n", "could not be parsed"),
        (b"--b\r\nContent-Type: te", "could not be parsed"),
        (PART.replace(b"name=", b"nome="), "needs a name"),
    ],
    ids=["cut before a head", "cut in a head", "no name"],
)
async def test_a_part_without_a_name_is_told_from_one_that_is_cut(
    tmp_path: Path, form: bytes, why: str
) -> None:
    async with reading(tmp_path, "form") as (writer, body):
        writer.write(FORM + chunk(form) + b"0\r\n\r\n")

        with pytest.raises(Refused, match=why):
            await body()
