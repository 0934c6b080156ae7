"""Splitting an upstream event stream at its event boundaries, wherever the network cut it.

Source: WHATWG HTML 9.2.6 as narrowed by wire.md 1.6: `id` and `retry` are ignored, several data
lines are joined with a newline, comments vanish, and an event is at most 8 MiB.
"""

from __future__ import annotations

import re

from modgate.plugin import BadReply, Event

EVENT_AT_MOST = 8 << 20
DONE = b"[DONE]"

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_LINES = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Splitter:
    """Bytes in at any cut, whole events out.  It holds at most one unfinished event."""

    __slots__ = ("_rest", "_searched", "_started")

    def __init__(self) -> None:
        self._rest = b""
        self._searched = 0
        self._started = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now; BadReply when one grows over 8 MiB."""
        if not self._started and data:
            self._started = True
            data = data.removeprefix(_BOM)
        rest = self._rest + data if self._rest else data
        if (
            b"\r" not in rest
        ):  # same result without this: the common form needs no regular expression
            *blocks, self._rest = rest.split(b"\n\n")
        else:
            blocks = self._split_any(rest)
        if len(self._rest) > EVENT_AT_MOST:
            raise BadReply("the engine sent an event of more than 8 MiB")
        return [event for block in blocks if (event := _parse(block)) is not None]

    def _split_any(self, rest: bytes) -> list[bytes]:
        blocks, start = [], 0
        for found in _BOUNDARY.finditer(rest):
            if found.end() == len(rest) and rest.endswith(b"\r"):
                break  # `\r` may be the first half of a `\r\n` that is still to come
            blocks.append(rest[start : found.start()])
            start = found.end()
        self._rest = rest[start:]
        return blocks

    def end(self) -> bool:
        """Whether the stream ended at a boundary: an unfinished event means that it was cut."""
        return not self._rest.strip()


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
    return Event(b"\n".join(data), name) if data else None
