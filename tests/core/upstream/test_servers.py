"""Servers that others wrote, as they keep, chunk and close."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from rigs.wired import BODY, rest
from servers import free_port
from waiting import until

from modgate.api.body import Body
from modgate.spool import Spool
from modgate.upstream.client import Client

BIG = bytes(range(256)) * (3 << 12)
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{ access_log {folder}/access.log; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; keepalive_requests 7; keepalive_timeout 1s;
    client_max_body_size 64m;
    location /said {{ return 200 "ok"; }}
    location /small {{ client_max_body_size 1k; proxy_pass {engine}; }}
    location / {{ proxy_pass {engine}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; }} }} }}
"""


async def streamed(request: web.Request) -> web.StreamResponse:
    """The body back, as it comes, in chunks."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for data in request.content.iter_any():
        await response.write(data)
    await response.write_eof()
    return response


@pytest.fixture
async def engine() -> AsyncIterator[str]:
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/echo", streamed)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, keepalive_timeout=0.3)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def nginx(engine: str, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real proxy before the engine; its address and its access log."""
    found = shutil.which("nginx")
    if found is None:
        pytest.skip("needs nginx: apt-get install nginx-light")
    port = free_port()
    path = tmp_path / "nginx.conf"
    path.write_text(NGINX.format(folder=tmp_path, port=port, engine=engine))
    errors = tmp_path / "early.log"
    with subprocess.Popen([found, "-c", str(path), "-e", str(errors)]) as child:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}", tmp_path / "access.log"
        finally:
            child.terminate()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


async def test_aiohttp_streams_a_big_body_back(engine: str, tmp_path: Path) -> None:
    scope = Spool(tmp_path / "spool", 1 << 30).scope()
    writer = scope.writer()
    writer.write(BIG)
    client = Client(engine)
    for _ in range(3):
        body = Body.of_bytes(writer.done().slice(), "audio/wav")
        found, error = await rest(await client.send("/echo", body, {}))
        assert (found == BIG, error) == (True, None)

    assert client.connections == (1, 1)
    scope.close()
    await client.close()


async def test_aiohttp_closes_an_idle_connection_and_the_next_call_knows(engine: str) -> None:
    client = Client(engine)
    for _ in range(3):
        answer = await client.send("/echo", BODY, {})
        assert await answer.whole(100) == b'{"a":1}'
        await until(lambda: client.connections == (0, 0))
    await client.close()


async def test_nginx_ends_its_connections_and_no_call_is_lost(nginx: tuple[str, Path]) -> None:
    url, log = nginx
    client = Client(url)

    async def calls() -> None:
        for _ in range(50):
            answer = await client.send("/said", BODY, {})
            assert await answer.whole(100) == b"ok"

    await asyncio.gather(*(calls() for _ in range(4)))
    await client.close()

    # It writes the line of a request after the reply.
    await until(lambda: log.read_text().count('"POST /said HTTP/1.1" 200') == 200)


async def test_nginx_passes_chunks_on(nginx: tuple[str, Path]) -> None:
    client = Client(nginx[0])
    for _ in range(10):
        body = Body.of_bytes(BIG, "application/octet-stream")
        found, error = await rest(await client.send("/echo", body, {}))
        assert (found == BIG, error) == (True, None)
    await client.close()


async def test_nginx_refuses_a_body_before_it_has_come(nginx: tuple[str, Path]) -> None:
    client = Client(nginx[0])
    body = Body.of_bytes(bytes(100_000), "application/octet-stream")
    answer = await client.send("/small", body, {})

    assert answer.status == 413
    assert b"413" in await answer.whole(10_000)
    await client.close()
