"""HTTP/1.1 framing for both ends: one message after another out of bytes as they come.

Written by hand because the engine must be able to break every rule, and because the client must
know to the byte what it has read when it leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from oracle.words import MIB

HEAD_BYTES = 64 * 1024
BOUNDARY = "oracle-5f1d7c2a"

_State = Literal["head", "length", "size", "chunk", "chunk_end", "trailer", "rest", "done"]
_NAME = re.compile(r'\bname="([^"]*)"')
_FILENAME = re.compile(r'\bfilename="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


class FramingError(Exception):
    """The peer broke HTTP/1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A start line and headers: names in lower case, values of repeated ones joined by a comma."""

    start: str
    headers: Mapping[str, str]

    @property
    def status(self) -> int:
        """Of a reply."""
        return int(self.start.split(" ", 2)[1])


class MessageReader:
    """Reads one request or reply; `feed` gives the body bytes that new bytes made visible."""

    def __init__(self, *, reply: bool) -> None:
        self.head: Head | None = None
        self._reply = reply
        self._buffer = bytearray()
        self._state: _State = "head"
        self._left = 0

    @property
    def complete(self) -> bool:
        """The message ended as its framing says it must."""
        return self._state == "done"

    @property
    def surplus(self) -> bytes:
        """Bytes behind the end of a complete message."""
        return bytes(self._buffer) if self.complete else b""

    def eof(self) -> None:
        """The peer will send no more; it completes a reply that had no length."""
        if self._state == "rest":
            self._state = "done"

    def feed(self, more: bytes) -> bytes:
        """Take bytes; raise FramingError for what is no HTTP/1.1."""
        self._buffer += more
        seen = bytearray()
        while self._step(seen):
            pass
        return bytes(seen)

    def _step(self, seen: bytearray) -> bool:
        """Go one state on; False when more bytes are needed."""
        match self._state:
            case "head":
                return self._read_head()
            case "length" | "chunk" | "rest":
                return self._read_body(seen)
            case "size":
                return self._read_size()
            case "chunk_end":
                return self._read_chunk_end()
            case "trailer":
                return self._read_trailer()
            case "done":
                return False

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES:
                raise FramingError("head is too long")
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise FramingError("header line without a colon")
            key = name.strip().lower()
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        self.head = Head(start=lines[0], headers=headers)
        self._state = self._body_state(self.head)
        return True

    def _body_state(self, head: Head) -> _State:
        if self._reply and (head.status < 200 or head.status in (204, 304)):
            return "done"
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            return "size"
        if "content-length" in head.headers:
            self._left = int(head.headers["content-length"])
            return "length" if self._left else "done"
        return "rest" if self._reply else "done"

    def _read_body(self, seen: bytearray) -> bool:
        if not self._buffer:
            return False
        take = len(self._buffer) if self._state == "rest" else min(self._left, len(self._buffer))
        seen += self._buffer[:take]
        del self._buffer[:take]
        if self._state == "rest":
            return False
        self._left -= take
        if self._left == 0:
            self._state = "done" if self._state == "length" else "chunk_end"
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        try:
            self._left = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise FramingError("chunk without a size") from error
        self._state = "chunk" if self._left else "trailer"
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise FramingError("chunk longer than its size")
        del self._buffer[:2]
        self._state = "size"
        return True

    def _read_trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._state = "done"
        return True


def head_bytes(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A start line and headers as they go on the wire."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk_bytes(data: bytes) -> bytes:
    """One chunk of a chunked body; empty data gives the chunk that ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a multipart form; `filename` is None for a plain field."""

    name: str
    data: bytes = field(repr=False)
    filename: str | None = None
    content_type: str = "application/octet-stream"

    @property
    def text(self) -> str:
        """A plain field's value."""
        return self.data.decode("utf-8", "replace")


def read_multipart(body: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in order; raise FramingError if it is none."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise FramingError("multipart without a boundary")
    mark = b"--" + found[1].encode("latin-1")
    parts: list[Part] = []
    for piece in (b"\r\n" + body).split(b"\r\n" + mark)[1:]:
        if piece.startswith(b"--"):
            return parts
        raw_head, gap, data = piece.partition(b"\r\n\r\n")
        if not gap:
            raise FramingError("part without a head")
        parts.append(_part(raw_head.decode("utf-8", "replace"), data))
    raise FramingError("multipart without its end")


def _part(head: str, data: bytes) -> Part:
    kind = "text/plain"
    name = filename = None
    for line in head.split("\r\n"):
        header, _, value = line.partition(":")
        match header.strip().lower():
            case "content-disposition":
                name, filename = _NAME.search(value), _FILENAME.search(value)
            case "content-type":
                kind = value.strip()
    return Part(
        name=name[1] if name else "",
        data=data,
        filename=filename[1] if filename else None,
        content_type=kind,
    )


def write_multipart(parts: Iterable[Part]) -> tuple[bytes, str]:
    """A form's body and its content type, as the official SDKs spell it."""
    body = bytearray()
    for part in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part.name}"'.encode()
        if part.filename is not None:
            body += f'; filename="{part.filename}"\r\nContent-Type: {part.content_type}'.encode()
        body += b"\r\n\r\n" + part.data + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    assert len(body) < 512 * MIB
    return bytes(body), f"multipart/form-data; boundary={BOUNDARY}"
