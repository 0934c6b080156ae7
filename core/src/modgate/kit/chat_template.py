"""What the plain chunks of a stream have in common: everything but their text.

An optimisation; the result is the same without it.  Most chunks of a stream differ from the one
before in one JSON string.  What a pure function makes of such a chunk is learned once, from the
chunk with a mark in place of its text, and from then on is put together around the new text.  That
is sound for a function that only looks for members and their values: a text holds none, because a
quote inside it is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TEXT = re.compile(
    rb'"(?:content|text|arguments|reasoning|reasoning_content)":"((?:[^"\\]|\\.)++)"'
)
_MARK = "\ue000modgate\ue000".encode()  # two characters that no text has: of private use
_QUOTE, _BACKSLASH = b'"\\'  # as numbers: bytes are first tried as one, which makes an exception
_LESSONS = 16  # in a row without use: a stream whose chunks are never alike is not studied for ever


class Template:
    """Of one stream and one pure function of its chunks."""

    __slots__ = ("_back", "_end", "_front", "_lessons", "_parts", "_size")

    def __init__(self) -> None:
        self._front, self._back = _MARK, b""
        self._size, self._end = len(_MARK), 0
        self._parts: list[bytes] = []
        self._lessons = _LESSONS

    def filled(self, data: bytes) -> bytes | None:
        """What the function would make of a chunk like the last one; None when it is not alike."""
        text = data[self._size : self._end]
        if (
            text
            and self._front + text + self._back == data
            and (_QUOTE not in text if _BACKSLASH not in text else _escaped(text))
        ):
            self._lessons = _LESSONS
            return text.join(self._parts)
        return None

    def learn(self, data: bytes, made: Callable[[bytes], bytes]) -> None:
        """Study what the function makes of a plain chunk: one text, and nothing to be noted."""
        if self._lessons == 0 or (data.startswith(self._front) and data.endswith(self._back)):
            return
        self._lessons -= 1
        found = _TEXT.search(data)
        if found is None or _TEXT.search(data, found.end()) is not None or _MARK in data:
            return
        front, back = data[: found.start(1)], data[found.end(1) :]
        parts = made(front + _MARK + back).split(_MARK)
        if len(parts) > 1:
            self._parts = parts
            self._front, self._back = front, back
            self._size, self._end = len(front), -len(back)


def _escaped(text: bytes) -> bool:
    """Whether every quote of a text is escaped, and its end is not."""
    bare = text.replace(b"\\\\", b"")
    return bare.count(b'"') == bare.count(b'\\"') and bare[-1:] != b"\\"
