"""From upstream events to reply bytes and usage.

The per-request object of a plugin, and what it is told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

import msgspec
import orjson

from modgate.api.body import JSON_TYPE
from modgate.api.fields import Fields
from modgate.api.json import Json
from modgate.api.plan import ReplyKind
from modgate.errors import BadReply, GatewayError, PluginFault
from modgate.units import NOTHING, Units

UNREAD_AT_MOST = 10_000  # that a relay yields of an event, and nobody reads
SSE_TYPE = "text/event-stream; charset=utf-8"


NO_HEADERS: Mapping[str, str] = MappingProxyType({})  # all requests share it: nobody adds to it


class Event:
    """One piece of an upstream reply.

    A whole body, one SSE message (`data`, and `name` if it had one), or a chunk.
    """

    __slots__ = ("data", "headers", "name")

    def __init__(
        self, data: bytes, name: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.name = name
        self.headers = headers or NO_HEADERS

    def __repr__(self) -> str:
        return f"Event({len(self.data)} bytes, name={self.name!r})"

    def sse(self) -> bytes:
        """As a message of an event stream."""
        lines = self.data.replace(b"\n", b"\ndata: ")
        return _named(self.name) + b"data: " + lines + b"\n\n"

    def json(self) -> Json:
        """The data as JSON; BadReply when it is none."""
        try:
            return orjson.loads(self.data)
        except orjson.JSONDecodeError:
            raise BadReply("the engine's reply is not valid JSON") from None

    def fields(self) -> Fields:
        """The data as a JSON object, to be read field by field; what does not fit is BadReply."""
        value = self.json()
        if not isinstance(value, dict):
            raise BadReply("the engine's reply is not a JSON object")
        return Fields(value, fault=_bad_field)


def _named(name: str) -> bytes:
    return b"event: " + name.encode() + b"\n" if name else b""


def _bad_field(name: str, code: str, reason: str) -> GatewayError:
    del name, code
    return BadReply(f"the engine's reply does not fit: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How the reply opens.

    `headers` are extra ones, of one line each: none of those that say whose request it is, who may
    read it, what it costs, how it was served, what it is and where it ends.
    """

    kind: ReplyKind = "whole"
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)


WHOLE_JSON = Head()
SSE = Head(kind="sse", content_type=SSE_TYPE)

State = Literal["pending", "ok", "refused", "failed", "timed_out", "cancelled"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one call stands.

    Entry i of `outcomes` is call i's.  Times are seconds since the request began.
    """

    state: State = "pending"
    backend: str = ""
    began_s: float = 0.0
    first_s: float | None = None
    ended_s: float | None = None
    error: GatewayError | None = None

    @property
    def ok(self) -> bool:
        """The reply came whole."""
        return self.state == "ok"


PENDING = Outcome()

MeasuredBy = Literal["engine", "gateway", "estimate"]


class Usage(msgspec.Struct, frozen=True):
    """What a request did cost so far; `exact` or a floor; who counted it.

    `other`: the same units, as far as the other of engine and gateway counted them, too.  They are
    never billed; where they are over 5 % apart the receipt says so.
    """

    units: Units
    exact: bool = True
    by: MeasuredBy = "gateway"
    other: Units = NOTHING


class Relay(ABC):
    """One request's relay.  The core calls it from one place at a time, always in call order.

    `observes`: what `feed` yields is not looked at, the events go out as they are, once it has
    taken them; what ends a stream (`[DONE]`) is for `close` to yield.  `heavy`: `feed` and `close`
    run in a thread, in order; what they yield goes out while they go on, so a long step yields
    early.  `head` is read when the first bytes are yielded, or at `close`.
    """

    head: Head = WHOLE_JSON
    observes: ClassVar[bool] = False
    heavy: ClassVar[bool] = False

    def begin(self) -> None:
        """While the engine works on its first event: make what takes a moment to make.

        Of a heavy relay only: once, in its thread, before anything is fed.
        """
        return

    @abstractmethod
    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One event of call `index`.

        On SSE each `bytes` yielded is a whole event.  BadReply when it does not fit.
        """

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """The rest of a reply that may look good."""
        del outcomes
        return ()

    def fail(self, error: GatewayError) -> Iterable[bytes] | None:
        """What to send after the first byte when it cannot end well.

        None = the surface's error event on SSE; on a binary body the core aborts the connection.
        """
        del error
        return None

    @abstractmethod
    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """What it did cost.

        Pure, callable at any moment, monotone per unit.  The bill is this figure.
        """

    @staticmethod
    def json(value: Json) -> bytes:
        """A value as JSON."""
        return orjson.dumps(value)

    @staticmethod
    def sse(value: Json, name: str = "") -> bytes:
        """A value as one SSE event."""
        return _named(name) + b"data: " + orjson.dumps(value) + b"\n\n"


def fed(relay: Relay, index: int, event: Event) -> Iterator[bytes]:
    """What goes out for an event of call `index` of a relay that may only observe.

    PluginFault for one that observes and yields without an end.
    """
    if not relay.observes:
        yield from relay.feed(index, event)
        return
    for count, _ in enumerate(relay.feed(index, event)):
        if count == UNREAD_AT_MOST:
            raise PluginFault(f"{type(relay).__name__} only observes, and yields without an end")
    yield event.sse() if relay.head.kind == "sse" else event.data
