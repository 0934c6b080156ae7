"""A web site on loopback that a Fetcher may be led to, with its names and certificates made up."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from aiohttp import web
from rigs.wired import Start, Talk, Wired

from modgate.api.body import File
from modgate.api.need import Fetch
from modgate.errors import Refused
from modgate.spool import Spool
from modgate.upstream.fetch import Fetcher

BOTH_LOOPS = frozenset(
    {"test_client.py", "test_connections.py", "test_delivery.py", "test_dialer.py"}
)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(4000)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Our own protocol is tried on both loops that the gateway runs on."""
    if item.path.name in BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


class Site:
    """A server on loopback that remembers what it was asked."""

    def __init__(self, host: str, port: int, requests: list[web.Request], scheme: str) -> None:
        self.port = port
        self.requests = requests
        self.origin = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a site whose every path is answered by one handler."""
    runners: list[web.AppRunner] = []

    async def start(
        handler: Handler, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
    ) -> Site:
        requests: list[web.Request] = []

        async def remember(request: web.Request) -> web.StreamResponse:
            requests.append(request)
            return await handler(request)

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", remember)
        runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        return Site(host, port, requests, "http" if tls is None else "https")

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an engine of one talk."""
    begun: list[Wired] = []

    async def begin(talk: Talk, **more: object) -> Wired:
        made = Wired(talk)
        begun.append(made)
        await made.start(**more)
        return made

    yield begin
    for each in begun:
        await each.stop()


async def _get(
    fetcher: Fetcher,
    spool: Spool,
    url: str,
    *,
    at_most: int = 1 << 20,
    kinds: frozenset[str] = frozenset({"image"}),
) -> File:
    try:
        need = Fetch(url=url, at_most=at_most, kinds=kinds, field="messages[0]")
        return await fetcher.fetch(need, spool.scope())
    finally:
        fetcher.close()


@pytest.fixture
def get() -> Callable[..., Awaitable[File]]:
    """Fetch one URL and let go of the fetcher."""
    return _get


@pytest.fixture
def refusal() -> Callable[..., Awaitable[Refused]]:
    """Fetch one URL that must be refused; the refusal."""

    async def refuse(fetcher: Fetcher, spool: Spool, url: str, **more: object) -> Refused:
        with pytest.raises(Refused) as caught:
            await _get(fetcher, spool, url, **more)
        assert caught.value.field == "messages[0]"
        return caught.value

    return refuse


@pytest.fixture
def png() -> bytes:
    """Something that begins as a picture does."""
    return PNG


@pytest.fixture
def picture() -> Handler:
    """A handler that answers a picture, wrongly labelled."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=PNG, content_type="text/plain")

    return handler


@pytest.fixture
def leading(picture: Handler) -> Callable[..., Handler]:
    """Handlers that redirect `/0` to the first place, `/1` to the second, then show a picture."""

    def make(*locations: str, status: int = 302) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            step = int(request.path.strip("/") or len(locations))
            if step < len(locations):
                return web.Response(status=status, headers={"Location": locations[step]})
            return await picture(request)

        return handler

    return make


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 1 << 20)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for files.example and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = [
        "-subj",
        "/CN=files.example",
        "-addext",
        "subjectAltName=DNS:files.example,DNS:localhost",
    ]
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    where = ["-keyout", str(key), "-out", str(cert), "-days", "2"]
    subprocess.run([openssl, *made, *where, *subject], check=True, capture_output=True)
    return cert, key
