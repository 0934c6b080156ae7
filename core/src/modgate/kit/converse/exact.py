"""Numbers that are wider than a parser's: the client's own digits go on.

Reading makes a float of a whole number beyond 64 bits, and writing it again would change it: an id
in what a model called, a bound in a schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from modgate.plugin import Body

_WIDE = re.compile(rb"\de\+")  # how orjson writes a float from 1e16 on; in a text it costs a look
_STEPS = re.compile(r"[^.\[\]]+")
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_wide(written: bytes) -> bool:
    """Whether JSON that was written again may hold a number that reading has changed."""
    return _WIDE.search(written) is not None


class Sent:
    """A body as the client wrote it, of which each level is taken apart once."""

    def __init__(self, body: Body) -> None:
        self._members = body.members()
        self._apart: dict[str, Mapping[str, msgspec.Raw]] = {}

    def at(self, place: str) -> bytes:
        """The value at a place: `messages[0].content[1].input`."""
        member, *steps = _STEPS.findall(place)
        value: msgspec.Raw | bytes = self._members[member]
        at = member
        for step in steps:
            if (inner := self._apart.get(at)) is None:
                inner = self._apart[at] = _inner(value, step)
            value, at = inner[step], f"{at}.{step}"
        return bytes(value)


def _inner(value: msgspec.Raw | bytes, step: str) -> Mapping[str, msgspec.Raw]:
    if step.isdigit():
        return {str(index): each for index, each in enumerate(_LIST.decode(value))}
    return _OBJECT.decode(value)
