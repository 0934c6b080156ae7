"""The head of a reply as bytes, and the frames of a chunked body.

Source: RFC 9112 sections 4 (status line), 6 and 7.1 (length, chunks), 9.3 (keep-alive).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

SERVER = "modgate"


def head(
    status: int,
    headers: Mapping[str, str],
    *,
    length: int | None,
    http_1_1: bool = True,
    keep_alive: bool = True,
) -> bytes:
    """The status line, the given headers, and those about the body and the connection.

    `length`: bytes of the body.  None: it is chunked, or, for a client of HTTP/1.0, it ends when
    the connection is closed.  `keep_alive`: whether the connection takes another request.

    ValueError for a header that would be more than one line.
    """
    lines = [_status_line(status), *map(": ".join, headers.items())]
    said = "".join(lines)
    if "\n" in said or "\r" in said:
        raise ValueError("a reply header has more than one line")
    if length is not None:
        lines.append(f"content-length: {length}")
    elif http_1_1:
        lines.append("transfer-encoding: chunked")
    if not keep_alive:
        lines.append("connection: close")
    elif not http_1_1:
        lines.append("connection: keep-alive")
    made = "\r\n".join((*lines, _common(int(time.time())), "", ""))
    return made.encode("utf-8", "surrogateescape")


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body, framed."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


@lru_cache(maxsize=128)
def _status_line(status: int) -> str:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return f"HTTP/1.1 {status} {reason}"


@lru_cache(maxsize=2)
def _common(second: int) -> str:
    """The headers that all replies of one second have."""
    return f"date: {formatdate(second, usegmt=True)}\r\nserver: {SERVER}"
