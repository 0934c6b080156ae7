"""Reading the head of an engine's reply, strictly: what could be read in two ways is refused.

Source: RFC 9112 sections 2.2, 4, 5, 6.3 and 11.2; RFC 9110 section 5.6.2 (tokens).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import msgspec

FIELDS_AT_MOST = 200
NAME_AT_MOST = 256
LINE_AT_MOST = 1024  # of the first line
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\x00]*)?")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
DIGITS_AT_MOST = 15
_TIMEOUT = re.compile(r"(?i)(?:^|,)\s*timeout=([0-9]{1,9})\s*(?:,|$)")
_WITHOUT_BODY = frozenset({204, 304})


class Malformed(ValueError):
    """What an engine sent is not HTTP/1.1 as this gateway reads it; the message says why."""


class Headers(Mapping[str, str]):
    """The fields of a head: found by a name in any case, iterated in lower case.

    A field that came more than once has its values joined by commas.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A reply's status and headers, and what they say of the body and the connection.

    `length`: bytes of the body; None when it is `chunked`, or ends with the connection.
    `keeps`: whether the connection can carry another call; `idle_s`: for how many seconds, when the
    engine said so.
    """

    status: int
    headers: Headers
    length: int | None
    chunked: bool
    encoding: str
    keeps: bool
    idle_s: float | None


def parse_head(raw: bytes) -> Head:
    """Read a head, which is given without the empty line behind it.  Malformed when it is none."""
    text = raw.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    said = "".join(lines)
    if "\r" in said or "\n" in said or "\0" in said:
        raise Malformed("a line break or a zero stands inside a line")
    minor, status = _status(lines[0])
    if len(lines) > FIELDS_AT_MOST + 1:
        raise Malformed(f"there are more than {FIELDS_AT_MOST} header fields")
    fields = _fields(lines[1:])
    if status == 101:
        raise Malformed("the engine switches protocols, which nobody asked for")
    length, chunked = _framing(status, minor, fields)
    alive = fields.get("keep-alive")
    return Head(
        status=status,
        headers=Headers(fields),
        length=length,
        chunked=chunked,
        encoding=fields.get("content-encoding", "identity"),
        keeps=(chunked or length is not None) and _keeps(minor, fields.get("connection")),
        idle_s=None if alive is None else _seconds(alive),
    )


# An optimisation, the result is the same without: an engine repeats a few lines and names.
@lru_cache(64)
def _status(line: str) -> tuple[str, int]:
    found = _STATUS.fullmatch(line)
    if found is None or len(line) > LINE_AT_MOST:
        raise Malformed("the first line is no status line")
    return found[1], int(found[2])


@lru_cache(1024)
def _name(name: str) -> str:
    if (
        len(name) > NAME_AT_MOST or TOKEN.fullmatch(name) is None
    ):  # also of a folded line, which begins with a space
        raise Malformed("a header field is not well formed")
    return name.lower()


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed("a header field is not well formed")
        name = _name(name)
        value = value.strip(" \t")
        held = fields.get(name)
        fields[name] = value if held is None else f"{held}, {value}"
    return fields


def _framing(status: int, minor: str, fields: Mapping[str, str]) -> tuple[int | None, bool]:
    coding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if coding is not None:
        if length is not None:
            raise Malformed("it has both a Content-Length and a Transfer-Encoding")
        if minor == "0" or coding.lower() != "chunked":
            raise Malformed("its Transfer-Encoding is not 'chunked' of HTTP/1.1")
    if length is not None and not _is_count(length):  # two of them are joined: none
        raise Malformed("its Content-Length is no number of bytes")
    if status < 200 or status in _WITHOUT_BODY:
        return 0, False
    if coding is not None:
        return None, True
    return (None if length is None else int(length)), False


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_AT_MOST


def _keeps(minor: str, connection: str | None) -> bool:
    if connection is None:
        return minor == "1"
    options = [option.strip().lower() for option in connection.split(",")]
    return "close" not in options and (minor == "1" or "keep-alive" in options)


def _seconds(text: str) -> float | None:
    found = _TIMEOUT.search(text)
    return None if found is None else float(found[1])
