"""Splitting an upstream event stream at its event boundaries, wherever the network cut it.

Source: WHATWG HTML 9.2.6 as narrowed by wire.md 1.6: `id` and `retry` are ignored, several data
lines are joined with a newline, comments vanish, and an event is at most 8 MiB.
An event without data is none, but for one that is called `error`.
"""

from __future__ import annotations

import re

from modgate.plugin import BadReply, Event

EVENT_AT_MOST = 8 << 20
DONE = b"[DONE]"
ERROR = "error"

_BOUNDARY = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")  # any two ends of lines
BOUNDARY_AT_MOST = 4
_LINES = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_RETURN = ord("\r")  # see `chat_template.py` for why a number


class Splitter:
    """Bytes in at any cut, whole events out.  It holds at most one unfinished event."""

    __slots__ = ("_rest", "_returned", "_started")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._returned = False  # what came ends an event by `\r`: a `\n` that comes belongs to it
        self._started = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now; BadReply when one grows over 8 MiB."""
        if self._returned and data:
            self._returned = False
            data = data.removeprefix(b"\n")
        if (
            data[:6] == b"data: "  # same result without this: one event of one line, as most come
            and data.find(b"\n") == len(data) - 2
            and data[-2:] == b"\n\n"
            and _RETURN not in data
            and len(data) < EVENT_AT_MOST
            and not self._rest
        ):
            self._started = True
            return [Event(data[6:-2])]
        if not self._started:
            data = bytes(self._rest) + data  # of a mark that the network cut
            self._rest.clear()
            if data in (_BOM[:0], _BOM[:1], _BOM[:2]):
                self._rest += data
                return []
            self._started = True
            data = data.removeprefix(_BOM)
        blocks: list[bytes] = []
        returned = data.endswith(b"\r")
        if self._rest:
            first, data = self._joined(data)
            blocks += first
        if _RETURN not in data:  # same result without this: the common form needs no pattern
            *more, rest = data.split(b"\n\n")
        else:
            more, rest = _split_any(data)
        blocks += more
        self._rest += rest
        self._returned = self._returned or (returned and not self._rest)
        if max(len(self._rest), *map(len, blocks), 0) > EVENT_AT_MOST:
            raise BadReply("the engine sent an event of more than 8 MiB")
        return [event for block in blocks if (event := _parse(block)) is not None]

    def _joined(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The unfinished event with what came: finished, with what is behind it, or longer.

        Only what is new is searched, so that a long event costs no more than its length.
        """
        seam = max(0, len(self._rest) - BOUNDARY_AT_MOST + 1)
        self._rest += data
        if self._rest.find(b"\r", seam) < 0:  # same result without this: a sixth of the time
            start = self._rest.find(b"\n\n", seam)
            end = start + 2
        else:
            found = _BOUNDARY.search(self._rest, seam)
            start, end = found.span() if found is not None else (-1, -1)
        if start < 0:
            return [], b""
        block, behind = bytes(self._rest[:start]), bytes(self._rest[end:])
        self._rest.clear()
        return [block], behind

    def end(self) -> bool:
        """Whether the stream ended at a boundary: an unfinished event means that it was cut."""
        return not self.rest

    @property
    def rest(self) -> bytes:
        """What there is of an unfinished event."""
        return bytes(self._rest.strip())


def _split_any(data: bytes) -> tuple[list[bytes], bytes]:
    blocks, start = [], 0
    for found in _BOUNDARY.finditer(data):
        blocks.append(data[start : found.start()])
        start = found.end()
    return blocks, data[start:]


def _parse(block: bytes) -> Event | None:
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return Event(block[6:])
    name, data = "", []
    for line in _LINES.split(block):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return Event(b"\n".join(data), name) if data or name == ERROR else None
