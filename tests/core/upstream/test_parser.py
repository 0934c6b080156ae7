"""A reply's bytes, cut anywhere: what they bring, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modgate.upstream.head import FIELDS_AT_MOST, LINE_AT_MOST, NAME_AT_MOST
from modgate.upstream.parser import HEAD_BYTES, LINE_BYTES, Parser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def fed(pieces: Iterable[bytes]) -> tuple[Parser, bytes]:
    parser = Parser()
    body = b"".join([parser.feed(piece) for piece in pieces])
    return parser, body


def seen(parser: Parser, body: bytes) -> tuple[object, ...]:
    """All that a reader can tell of it."""
    head = parser.head and (parser.head.status, dict(parser.head.headers), parser.head.keeps)
    return head, body, parser.over, parser.spare, str(parser.error), parser.again


GOOD = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", b"x", True),
    "values trimmed": (OK + b"content-length: \t3 \t\r\n\r\nabc", b"abc", True),
    "chunks": (CHUNKED + b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789", True),
    "extensions": (CHUNKED + b'2;a=b\r\nhi\r\n0 ; c="d"\r\n\r\n', b"hi", True),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n", b"x", True),
    "big TE": (OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"x", True),
    "1xx": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + CHUNKED
            + b"0\r\n\r\n", b"", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
    "close": (OK + b"Connection: x, Close\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    "1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
                 b"x", True),
    "spare": (OK + b"Content-Length: 1\r\n\r\nxy", b"x", False),
    "spare chunks": (CHUNKED + b"0\r\n\r\nHTTP/1.1 200 OK\r\n", b"", False),
    "not latin": (OK + b"X-Name: \xc3\xa9\xff\r\nContent-Length: 1\r\n\r\nx", b"x", True),
}  # fmt: skip  # rows as they are read

BAD = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "line break first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "status": b"HTTP/1.1 20 OK\r\n\r\n",
    "status glued": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status zero": b"HTTP/1.1 099 OK\r\n\r\n",
    "tab for space": b"HTTP/1.1\t200 OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\r\n\r\n",
    "bare return": OK + b"X: a\rb\r\n\r\n",
    "bare feed in a value": OK + b"X: a\nContent-Length: 4\r\n\r\n",
    "zero": OK + b"X: a\0b\r\n\r\n",
    "folded": OK + b"X: a\r\n b\r\n\r\n",
    "folded first": OK + b" X: a\r\n\r\n",
    "a long name": OK + b"x" * (NAME_AT_MOST + 1) + b": y\r\n\r\n",
    "a long reason": b"HTTP/1.1 200 " + b"x" * LINE_AT_MOST + b"\r\n\r\n",
    "no colon": OK + b"garbage\r\n\r\n",
    "no name": OK + b": x\r\n\r\n",
    "space before colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "lengths in one": OK + b"Content-Length: 5, 5\r\n\r\n",
    "signed length": OK + b"Content-Length: +5\r\n\r\n",
    "hex length": OK + b"Content-Length: 0x5\r\n\r\n",
    "empty length": OK + b"Content-Length: \r\n\r\n",
    "other digits": OK + "Content-Length: \u0665\r\n\r\n".encode(),
    "long length": OK + b"Content-Length: 9999999999999999\r\n\r\n",
    "gzip": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked, odd": OK + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunks of 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size": CHUNKED + b"zz\r\n",
    "no chunk size": CHUNKED + b"\r\n",
    "signed chunk size": CHUNKED + b"-1\r\n",
    "prefixed chunk size": CHUNKED + b"0x1\r\n",
    "chunk size with space": CHUNKED + b"1 \r\nx\r\n",
    "chunk size with _": CHUNKED + b"1_0\r\n",
    "endless chunk size": CHUNKED + b"0" * 17 + b"\r\n",
    "bare feed after a size": CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "long extension": CHUNKED + b"1;" + b"x" * LINE_BYTES + b"\r\n",
    "longer than its size": CHUNKED + b"1\r\nxy\r\n",
    "no break after a chunk": CHUNKED + b"1\r\nx1\r\n",
    "trailer": CHUNKED + b"0\r\n folded\r\n\r\n",
    "too many fields": OK + b"X: y\r\n" * (FIELDS_AT_MOST + 1) + b"\r\n",
    "a long field": OK + b"X: " + b"y" * HEAD_BYTES + b"\r\n\r\n",
    "a head without end": OK + b"X: " + b"y" * (HEAD_BYTES + 8),
    "trailers without end": CHUNKED + b"0\r\nX: " + b"y" * (HEAD_BYTES + 8),
    "many trailers": CHUNKED + b"0\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 70,
}


@pytest.mark.parametrize(("raw", "body", "again"), GOOD.values(), ids=GOOD.keys())
def test_a_reply_is_read(raw: bytes, body: bytes, again: bool) -> None:
    parser, found = fed([raw])

    assert parser.error is None
    assert parser.over
    assert (found, parser.again) == (body, again)


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_what_two_readers_could_read_differently_is_refused(raw: bytes) -> None:
    parser, _ = fed([raw])

    assert parser.error is not None
    assert not parser.over
    assert not parser.end()
    assert not parser.again


@given(st.sampled_from([raw for raw, *_ in GOOD.values()] + list(BAD.values())), st.data())
def test_cut_anywhere_it_reads_the_same(raw: bytes, data: st.DataObject) -> None:
    near = st.integers(0, min(len(raw), 300))
    cuts = sorted(data.draw(st.lists(near | st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert seen(*fed(pieces)) == seen(*fed([raw]))


@pytest.mark.parametrize(
    "raw", [raw for raw, *_ in GOOD.values()] + [raw for raw in BAD.values() if len(raw) < 4000]
)
def test_byte_by_byte_it_reads_the_same(raw: bytes) -> None:
    pieces = [raw[i : i + 1] for i in range(len(raw))]

    assert seen(*fed(pieces)) == seen(*fed([raw]))


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_chunks_come_out_as_they_went_in(chunks: list[bytes], data: st.DataObject) -> None:
    raw = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    parser, body = fed(pieces)

    assert parser.again
    assert body == b"".join(chunks)


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: CHUNKED + tail))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    parser, body = fed([raw])

    assert len(body) <= len(raw)
    assert not (parser.over and parser.error)


def test_what_broke_comes_behind_what_was_good() -> None:
    parser, body = fed([CHUNKED + b"3\r\nabc\r\nzz\r\n", b"1\r\nx\r\n"])

    assert body == b"abc"
    assert parser.error is not None


def test_a_body_without_an_end_of_its_own_ends_with_the_connection() -> None:
    parser, body = fed([OK + b"\r\nabc", b"def"])

    assert (body, parser.over) == (b"abcdef", False)
    assert parser.end()
    assert not parser.again


@pytest.mark.parametrize(
    "raw",
    [b"", OK, OK + b"Content-Length: 5\r\n\r\nhell", CHUNKED, CHUNKED + b"1\r\nx\r\n0\r\n"],
    ids=["nothing", "half a head", "short of its length", "no chunk", "no blank line"],
)
def test_a_reply_that_is_cut_has_not_ended(raw: bytes) -> None:
    parser, _ = fed([raw])

    assert not parser.end()
    assert not parser.over


def test_fields_are_found_in_any_case_and_joined() -> None:
    parser, _ = fed([OK + b"X-A: 1\r\nx-a: 2\r\nKeep-Alive: max=9, timeout=5\r\n\r\n"])

    head = parser.head
    assert head is not None
    assert head.headers["X-a"] == "1, 2"
    assert head.headers.get("absent") is None
    assert list(head.headers) == ["x-a", "keep-alive"]
    assert head.idle_s == 5.0
