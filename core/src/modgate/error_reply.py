"""How a client is told of an error: as a whole reply, or in a stream that has begun.

What a plugin has a say in, a surface's format or a relay's own end, may fail: then core's stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TypeVar

from modgate.api.relay import Relay
from modgate.api.surface import Surface, dump
from modgate.draft import Draft
from modgate.errors import GatewayError, PluginFault
from modgate.faults import RAISED
from modgate.http.surfaces import OpenAI, error_headers
from modgate.own_headers import own_error_headers

PLAIN = OpenAI()
TOLD_AT_MOST = 1 << 20  # bytes of an error: its message may be there for several SDKs
LAST_WORDS_AT_MOST = 1000  # pieces that a relay ends a broken stream with

log = logging.getLogger(__name__)

T = TypeVar("T")
Typed = tuple[int, Mapping[str, str], bytes]  # status, headers and body


def typed_error(error: GatewayError, surface: Surface, draft: Draft) -> Typed:
    """The status, headers and body of a whole reply, in the client's format."""
    return _worded(error, surface, draft, _whole)


def error_event(error: GatewayError, surface: Surface, draft: Draft) -> bytes:
    """The last event of a stream, in the client's format."""
    return _worded(error, surface, draft, _event)


def last_words(error: GatewayError, relay: Relay, draft: Draft) -> bytes | None:
    """The relay's own end of a stream; None where it has none, or its code fails."""
    try:
        said = relay.fail(error)
        if said is None:
            return None
        words = list(islice(said, LAST_WORDS_AT_MOST + 1))
        if len(words) > LAST_WORDS_AT_MOST:
            raise PluginFault(f"a relay failed in more than {LAST_WORDS_AT_MOST} pieces")
        return b"".join(words)
    except RAISED:
        extra = {"request_id": draft.request_id, "relay": type(relay).__name__}
        log.exception("fail failed", extra=extra)
        return None


def _worded(
    error: GatewayError,
    surface: Surface,
    draft: Draft,
    say: Callable[[GatewayError, Surface, Draft], T],
) -> T:
    """An error in the client's format; in openai's where the code of a surface fails."""
    try:
        return say(error, surface, draft)
    except RAISED:
        extra = {"request_id": draft.request_id, "surface": surface.name}
        log.exception("surface failed", extra=extra)
        return say(error, PLAIN, draft)


def _whole(error: GatewayError, surface: Surface, draft: Draft) -> Typed:
    """ValueError for a status below 400."""
    status, own = surface.status(error), own_error_headers(surface.error_headers(error, draft.wall))
    if not 400 <= status <= 599:
        raise ValueError(f"the status of an error is 400 to 599, and not {status}")
    headers = {"content-type": "application/json", **own, **error_headers(error)}
    return status, headers, _short(dump(surface.error_body(error, draft.request_id)))


def _event(error: GatewayError, surface: Surface, draft: Draft) -> bytes:
    return _short(bytes(surface.error_event(error, draft.request_id)))


def _short(told: bytes) -> bytes:
    if len(told) > TOLD_AT_MOST:
        raise PluginFault(f"a surface told an error in more than {TOLD_AT_MOST} bytes")
    return told
