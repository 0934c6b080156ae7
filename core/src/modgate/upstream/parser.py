"""Reading an engine's reply from bytes that are cut anywhere.

A state machine without network and clock.  Source: RFC 9112 sections 6 (how a body's length is
known) and 7 (chunked coding).
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

from modgate.upstream.head import Head, Malformed, parse_head

HEAD_BYTES = 64 << 10  # of a head, and of all trailers together
LINE_BYTES = 1 << 10  # of a chunk's size with its extensions
_BEGIN = b"HTTP/1."
_BLANK = b"\r\n\r\n"
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})(?:[ \t]*;[^\r\n\x00]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\x00]*")


class _Stage(Enum):
    """What comes next."""

    HEAD = auto()
    PLAIN = auto()
    SIZE = auto()
    CHUNK = auto()
    GAP = auto()  # the line break behind a chunk
    TRAILER = auto()


class Parser:
    """Reads one reply.

    `head`: None until it has come.  Interim heads (1xx) in front of it are skipped.
    `over`: the body has ended.
    `spare`: bytes came after its end.
    `error`: what is wrong with the reply, after the bytes that `feed` returned last.
    """

    __slots__ = ("_kept", "_left", "_stage", "_trailers", "error", "head", "over", "spare")

    def __init__(self) -> None:
        self._stage = _Stage.HEAD
        self._kept = bytearray()  # the beginning of a head or a line whose end has not come
        self._left: int | None = (
            0  # bytes of the body or chunk to come; None: until the connection ends
        )
        self._trailers = 0
        self.head: Head | None = None
        self.over = False
        self.spare = False
        self.error: Malformed | None = None

    @property
    def again(self) -> bool:
        """Whether its connection may carry another request."""
        return self.over and not self.spare and self.head is not None and self.head.keeps

    def feed(self, data: bytes) -> bytes:
        """Take more bytes of the reply; the answer is what they hold of the body."""
        pieces: list[bytes] = []
        if self.error is None:
            try:
                at = 0
                if self._stage is _Stage.SIZE and not self._kept:
                    at = _chunks(data, pieces)
                if at < len(data):
                    self._take(data[at:], pieces)
            except Malformed as error:
                self.error = error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> bool:
        """The engine closed the connection: whether the reply is whole."""
        if self._stage is _Stage.PLAIN and self._left is None and self.error is None:
            self.over = True
        return self.over

    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        while self._stage is _Stage.HEAD:
            rest = self._open(data)
            if rest is None:
                return
            data = rest
        if self._stage is _Stage.PLAIN:
            self._plain(data, pieces)
        else:
            self._chunks(data, pieces)

    def _open(self, data: bytes) -> bytes | None:
        """Read a head; the answer is what follows it, None when its end has not come."""
        kept = self._kept
        if kept:
            since = max(0, len(kept) - len(_BLANK) + 1)
            kept += data
            at = kept.find(_BLANK, since)
            data = bytes(kept) if at >= 0 else b""
        else:
            at = data.find(_BLANK)
        if at < 0:
            kept += data
            _check(kept, HEAD_BYTES + len(_BLANK) - 1)
            return None
        kept.clear()
        raw = data[:at]
        _check(raw, HEAD_BYTES)
        head = parse_head(raw)
        if head.status >= 200:
            self._begin(head)
        return data[at + len(_BLANK) :]

    def _begin(self, head: Head) -> None:
        self.head = head
        self._left = 0 if head.chunked else head.length
        self._stage = _Stage.SIZE if head.chunked else _Stage.PLAIN

    def _plain(self, data: bytes, pieces: list[bytes]) -> None:
        left = self._left
        if left is not None:
            if len(data) > left:
                self.spare = True
                data = data[:left]
            self._left = left - len(data)
            self.over = self._left == 0
        if data:
            pieces.append(data)

    def _chunks(self, data: bytes, pieces: list[bytes]) -> None:
        if self._kept:
            data = bytes(self._kept) + data
            self._kept.clear()
        at, size = 0, len(data)
        while at < size:
            if self.over:
                self.spare = True
                return
            if self._stage is _Stage.CHUNK:
                assert self._left is not None
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._stage = _Stage.GAP
            else:
                after = self._line(data, at)
                if after == at:
                    self._kept += data[at:]
                    return
                at = after

    def _line(self, data: bytes, at: int) -> int:
        """Read the line at `at`; the answer is where it ends, `at` when its end has not come."""
        if self._stage is _Stage.GAP:
            return self._gap(data, at)
        most = LINE_BYTES if self._stage is _Stage.SIZE else HEAD_BYTES - self._trailers
        end = data.find(b"\r\n", at, at + most + 2)
        if end < 0:
            if len(data) - at >= most + 2:
                raise Malformed("a chunk's size or the trailers are too long")
            return at
        line = data[at:end]
        if self._stage is _Stage.SIZE:
            self._left = size = _size(line)
            self._stage = _Stage.CHUNK if size else _Stage.TRAILER
        elif not line:
            self.over = True
        elif _TRAILER.fullmatch(line) is None:
            raise Malformed("a trailer field is not well formed")
        else:
            self._trailers += len(line)
        return end + 2

    def _gap(self, data: bytes, at: int) -> int:
        found = data[at : at + 2]
        if not b"\r\n".startswith(found):
            raise Malformed("a chunk is longer than its size says")
        if len(found) < 2:
            return at
        self._stage = _Stage.SIZE
        return at + 2


@lru_cache(1024)  # the result is the same without: chunks of a stream have a few sizes
def _size(line: bytes) -> int:
    found = _SIZE.fullmatch(line)
    if found is None:
        raise Malformed("a chunk's size is no number")
    return int(found[1], 16)


def _chunks(data: bytes, pieces: list[bytes]) -> int:
    """Read the chunks that came whole, as most do in streams; the answer is where they end.

    An optimisation: the result of `feed` is the same without this.
    """
    at = 0
    while (end := data.find(b"\r\n", at, at + 16)) >= 0:
        size = _size(data[at:end])
        after = end + 2 + size
        if not size or data[after : after + 2] != b"\r\n":
            break
        pieces.append(data[end + 2 : after])
        at = after + 2
    return at


def _check(begun: bytes | bytearray, at_most: int) -> None:
    if not begun.startswith(_BEGIN[: len(begun)]):
        raise Malformed("it does not begin as a reply of HTTP/1.1")
    if len(begun) > at_most:
        raise Malformed(f"its head has more than {HEAD_BYTES} bytes")
