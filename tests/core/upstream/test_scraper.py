"""An engine that could not be asked is told with what the system said, so that somebody can act."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from rigs.certificates import certificate
from servers import free_port

from modgate.upstream.ca_bundles import CaBundles
from modgate.upstream.scraper import Scraper

Serve = Callable[..., Awaitable[Any]]


async def hello(_: web.Request) -> web.Response:
    return web.Response()


async def why(url: str, ca: Path | None = None) -> str:
    scraper = Scraper(CaBundles())
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


async def test_an_authority_that_was_replaced_counts_for_the_next_connection(
    serve: Serve, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        certificate(tmp_path, name)
    ca = tmp_path / "ca.pem"
    scraper = Scraper(CaBundles())
    for name in ("old", "new"):
        site = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        site.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        port = (await serve(hello, tls=site)).port
        ca.write_bytes((tmp_path / f"{name}.pem").read_bytes())
        status, _ = await scraper.get(f"https://localhost:{port}/", ca=str(ca), within_s=20.0)

        assert status == 200, name
    await scraper.close()
