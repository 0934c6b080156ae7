"""An engine that could not be asked is told with what the system said, so that somebody can act."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from rigs.certificates import certificate
from servers import free_port

from modgate.upstream.scraper import Scraper

Serve = Callable[..., Awaitable[Any]]


async def hello(_: web.Request) -> web.Response:
    return web.Response()


async def why(url: str, ca: Path | None = None) -> str:
    scraper = Scraper()
    try:
        status, _ = await scraper.get(url, ca=str(ca or ""), within_s=20.0)
    except OSError as error:
        return str(error)
    finally:
        await scraper.close()
    return f"it answered {status}"


async def test_a_port_at_which_nobody_listens_is_a_refused_connection() -> None:
    assert await why(f"http://127.0.0.1:{free_port()}/metrics") == "connection refused"


async def test_a_certificate_that_is_not_taken_is_told_with_what_is_wrong_with_it(
    serve: Serve, tmp_path: Path
) -> None:
    certificate(tmp_path, "old")
    site = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    site.load_cert_chain(tmp_path / "old.pem", tmp_path / "old.key")
    port = (await serve(hello, tls=site)).port

    assert "self-signed certificate" in await why(f"https://localhost:{port}/")
    mine = tmp_path / "old.pem"
    assert "not valid for '127.0.0.1'" in await why(f"https://127.0.0.1:{port}/", mine)
    assert await why(f"https://localhost:{port}/", mine) == "it answered 200"
