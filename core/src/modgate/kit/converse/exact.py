"""Numbers that are wider than a parser's: the client's own digits go on.

Reading makes a float of a whole number beyond 64 bits, and writing it again would change it: an id
in what a model called, a bound in a schema.
"""

from __future__ import annotations

import re

import msgspec

from modgate.plugin import Body

_WIDE = re.compile(rb"\de\+")  # how orjson writes a float from 1e16 on; in a text it costs a look
_STEPS = re.compile(r"[^.\[\]]+")
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_wide(written: bytes) -> bool:
    """Whether JSON that was written again may hold a number that reading has changed."""
    return _WIDE.search(written) is not None


def as_sent(body: Body, place: str) -> bytes:
    """A value as the client wrote it: `messages[0].content[1].input`."""
    member, *steps = _STEPS.findall(place)
    value: msgspec.Raw | bytes = body.members()[member]
    for step in steps:
        value = _LIST.decode(value)[int(step)] if step.isdigit() else _OBJECT.decode(value)[step]
    return bytes(value)
