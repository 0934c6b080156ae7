"""The same reply as a newer minor version of the engine might write it: more keys, more events.

A decoder that stumbles over any of it stops working on the day the operator upgrades an engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from modgate.api.json import Json
from modgate.api.plan import ReplyKind
from modgate.testing.compare import parsed

MARK = "x_of_a_newer_version"
_MORE: Json = {"inner": [1, "text", None], "flag": True}
_EVENT = b"event: %s\ndata: " % MARK.encode() + json.dumps({MARK: _MORE}).encode() + b"\n\n"

Grown = Callable[[Json], bytes]


def newer(body: bytes, kind: ReplyKind) -> Iterator[tuple[str, bytes]]:
    """A reply's variants, each with a name for messages; none for raw chunks."""
    if kind == "chunked":
        return
    for name, grow in (("first", _front), ("last", _behind)):
        grown = _grown(body, grow) if kind == "whole" else _lines(body, grow)
        if grown != body:
            yield f"unknown keys, {name} in every object", grown
    if kind == "sse":
        lines = body.splitlines(keepends=True)
        yield "a comment before every line", b"".join(b": ping\n" + line for line in lines)
        yield "id and retry in every event", b"".join(map(_with_id, lines))
        yield "an unknown event before every event", b"".join(_with_events(lines))


def without_newer(data: bytes) -> bytes | None:
    """What passed through taken out again; None for an event that holds nothing else."""
    value = parsed(data)
    if value is ... or MARK.encode() not in data:
        return data
    bare = _bare(value)
    return None if bare in ({}, "") else json.dumps(bare).encode()


def _grown(data: bytes, grow: Grown) -> bytes:
    value = parsed(data)
    return data if value is ... else grow(value)


def _lines(body: bytes, grow: Grown) -> bytes:
    """Every data line of a stream; an event of several lines stays as it is."""
    return b"".join(_line(line, grow) for line in body.splitlines(keepends=True))


def _line(line: bytes, grow: Grown) -> bytes:
    field, _, rest = line.partition(b":")
    data = rest.rstrip(b"\r\n")
    grown = _grown(data, grow)
    return line if field != b"data" or grown == data else b"data: " + grown + rest[len(data) :]


def _front(value: Json) -> bytes:
    """Compact, with the new key first."""
    return json.dumps(_with(value, front=True), separators=(",", ":")).encode()


def _behind(value: Json) -> bytes:
    """With spaces, and the new key last."""
    return json.dumps(_with(value, front=False)).encode()


def _with(value: Json, *, front: bool) -> Json:
    if isinstance(value, list):
        return [_with(each, front=front) for each in value]
    if not isinstance(value, dict):
        return value
    inside = {name: _with(each, front=front) for name, each in value.items()}
    return {MARK: _MORE, **inside} if front else {**inside, MARK: _MORE}


def _bare(value: Json) -> Json:
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items() if name != MARK}
    return value


def _with_id(line: bytes) -> bytes:
    return b"id: 7\nretry: 10\n" + line if line.startswith(b"data:") else line


def _with_events(lines: list[bytes]) -> Iterator[bytes]:
    begins = True
    for line in lines:
        blank = not line.strip()
        if begins and not blank:
            yield _EVENT
        begins = blank
        yield line
