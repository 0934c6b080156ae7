"""The head of a reply, read back by aiohttp's own parser."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser, RawResponseMessage
from hypothesis import given
from hypothesis import strategies as st

from modgate.http.head import LAST_CHUNK, chunk, head


async def parsed(data: bytes) -> tuple[RawResponseMessage, bytes]:
    loop = asyncio.get_running_loop()
    parser = HttpResponseParser(BaseProtocol(loop), loop, 1 << 16)
    [(message, payload)], _, _ = parser.feed_data(data)
    return message, await payload.read()


async def test_a_whole_reply_says_its_length() -> None:
    made = head(200, {"content-type": "text/plain", "x-request-id": "req_1"}, length=2)

    message, body = await parsed(made + b"hi")

    assert (message.code, message.reason, message.should_close) == (200, "OK", False)
    assert message.headers["x-request-id"] == "req_1"
    assert message.headers["date"].endswith("GMT")
    assert body == b"hi"


@given(pieces=st.lists(st.binary(min_size=1, max_size=64), max_size=8))
def test_chunks_are_what_was_written(pieces: list[bytes]) -> None:
    made = head(200, {}, length=None) + b"".join(map(chunk, pieces)) + LAST_CHUNK

    message, body = asyncio.run(parsed(made))

    assert message.chunked
    assert body == b"".join(pieces)


def test_an_old_client_is_told_by_the_end_of_the_connection() -> None:
    made = head(200, {}, length=None, http_1_1=False, keep_alive=False)

    assert b"transfer-encoding" not in made
    assert b"connection: close\r\n" in made


def test_an_old_client_that_wants_to_stay_is_told_that_it_may() -> None:
    made = head(200, {}, length=0, http_1_1=False)

    assert b"connection: keep-alive\r\n" in made


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\rb"])
def test_a_header_cannot_become_two(value: str) -> None:
    with pytest.raises(ValueError, match="more than one line"):
        head(200, {"x-voice": value}, length=0)


def test_a_status_without_a_phrase_is_one() -> None:
    assert head(529, {}, length=0).startswith(b"HTTP/1.1 529 \r\n")
