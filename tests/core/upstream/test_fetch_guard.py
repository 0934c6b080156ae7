"""A client's URL does not lead where the client must not reach."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modgate.clock import SystemClock
from modgate.spool import Spool
from modgate.upstream.fetch import Fetcher
from modgate.upstream.names import Resolve

CLOCK = SystemClock()
Ask = Callable[..., Awaitable[Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(*answers: Sequence[str], asked: list[str] | None = None) -> Resolve:
    """A resolver that gives these answers, one a question; the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        if asked is not None:
            asked.append(host)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if not answer:
            raise OSError("no such name")
        return answer

    return resolve


async def test_without_an_allow_list_fetching_is_off_and_the_key_is_named(
    spool: Spool, refusal: Ask
) -> None:
    error = await refusal(Fetcher([], CLOCK), spool, "https://example.com/x.png")

    assert error.code == "invalid_image_url"
    assert "[fetch] allow" in error.message


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "http://example.com/",
        "https://example.com:8443/",
        "https://user@example.com/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
    ],
)
async def test_a_url_that_leads_inside_is_refused_before_any_name_is_asked(
    url: str, spool: Spool, refusal: Ask
) -> None:
    asked: list[str] = []
    fetcher = Fetcher(["*"], CLOCK, resolver=answering(["1.1.1.1"], asked=asked))

    error = await refusal(fetcher, spool, url)

    assert error.code == "invalid_image_url"
    assert asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a00:1"],
        ["fd00::1", "2606:4700:4700::1111"],
        ["not an address"],
    ],
)
async def test_a_name_that_leads_inside_reads_like_a_name_that_is_not_there(
    addresses: list[str], spool: Spool, refusal: Ask
) -> None:
    fetcher = Fetcher(["*"], CLOCK, resolver=answering(addresses))

    error = await refusal(fetcher, spool, "https://inside.example/x.png")

    assert error.code == "failed_to_download_image"
    assert error.message == (
        "the URL cannot be fetched: its host has no public address that this gateway can reach"
    )


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::ffff:a9fe:a9fe"])
async def test_a_metadata_address_is_not_reached_even_when_its_name_is_allowed(
    address: str, spool: Spool, refusal: Ask
) -> None:
    fetcher = Fetcher(["http://meta.internal"], CLOCK, resolver=answering([address]))

    error = await refusal(fetcher, spool, "http://meta.internal/x")

    assert "no public address" in error.message


async def test_a_metadata_address_is_not_reached_even_when_it_is_allowed(
    spool: Spool, refusal: Ask
) -> None:
    fetcher = Fetcher(["http://169.254.169.254"], CLOCK)

    error = await refusal(fetcher, spool, "http://169.254.169.254/latest/")

    assert error.code == "invalid_image_url"


async def test_a_name_is_asked_once_a_hop_and_a_second_answer_is_never_heard(
    serve: Ask, spool: Spool, get: Ask, leading: Callable[..., Handler]
) -> None:
    asked: list[str] = []
    resolver = answering(["127.0.0.1"], ["127.0.0.1"], ["169.254.169.254"], asked=asked)
    site = await serve(leading("/1"))
    origin = f"http://files.example:{site.port}"

    await get(Fetcher([origin], CLOCK, resolver=resolver), spool, f"{origin}/0")

    assert asked == ["files.example"] * 2
    assert [request.host for request in site.requests] == [f"files.example:{site.port}"] * 2


async def test_a_second_hop_is_judged_by_what_its_name_says_then(
    serve: Ask, spool: Spool, refusal: Ask, leading: Callable[..., Handler]
) -> None:
    resolver = answering(["127.0.0.1"], ["169.254.169.254"])
    site = await serve(leading("/1"))
    origin = f"http://files.example:{site.port}"

    error = await refusal(Fetcher([origin], CLOCK, resolver=resolver), spool, f"{origin}/0")

    assert "no public address" in error.message
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://inside.example/",
        "//2130706433/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "https://a b/",
    ],
)
async def test_a_redirect_is_judged_like_the_first_url(
    location: str, serve: Ask, spool: Spool, refusal: Ask, leading: Callable[..., Handler]
) -> None:
    site = await serve(leading(location))
    fetcher = Fetcher(["*", site.origin], CLOCK, resolver=answering(["10.0.0.1"]))

    error = await refusal(fetcher, spool, f"{site.origin}/0")

    assert error.code == "failed_to_download_image"
    assert not any(word in error.message for word in ("127.0.0.1", "169.254", "10.0.0.1"))
    assert (spool.files, len(site.requests)) == (0, 1)


async def test_a_redirect_to_another_machine_inside_never_reaches_it(
    serve: Ask, spool: Spool, refusal: Ask, picture: Handler, leading: Callable[..., Handler]
) -> None:
    inside = await serve(picture)
    site = await serve(leading(f"{inside.origin}/secret"))

    await refusal(Fetcher(["*", "http://*", site.origin], CLOCK), spool, f"{site.origin}/0")

    assert inside.requests == []


def contexts(certificate: tuple[Path, Path]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The site's and the fetcher's."""
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(*certificate)
    return own, ssl.create_default_context(cafile=str(certificate[0]))


async def test_tls_is_spoken_with_the_name_at_the_judged_address(
    serve: Ask, spool: Spool, get: Ask, picture: Handler, certificate: tuple[Path, Path]
) -> None:
    names: list[str | None] = []
    own, trust = contexts(certificate)
    own.sni_callback = lambda _, name, __: names.append(name)
    site = await serve(picture, own)
    origin = f"https://files.example:{site.port}"
    fetcher = Fetcher([origin], CLOCK, resolver=answering(["127.0.0.1"]), tls=trust)

    await get(fetcher, spool, f"{origin}/x")

    assert names == ["files.example"]


async def test_a_certificate_of_another_name_is_not_taken(
    serve: Ask, spool: Spool, refusal: Ask, picture: Handler, certificate: tuple[Path, Path]
) -> None:
    own, trust = contexts(certificate)
    site = await serve(picture, own)
    origin = f"https://other.example:{site.port}"
    fetcher = Fetcher([origin], CLOCK, resolver=answering(["127.0.0.1"]), tls=trust)

    error = await refusal(fetcher, spool, f"{origin}/x")

    assert error.code == "failed_to_download_image"
    assert site.requests == []
