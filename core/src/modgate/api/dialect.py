"""How one family of engines spells a modality's home wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec
import orjson

from modgate.api.body import Body
from modgate.api.json import Json
from modgate.api.plan import Call, ReplyKind
from modgate.api.relay import Event
from modgate.api.select import Served
from modgate.errors import GatewayError, Overloaded, Refused, TooLarge, UpstreamFailed

MESSAGE_AT_MOST = 400
RETRY_AT_MOST_S = 120.0  # an engine may say any number; no client is told of a longer wait
_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*+"|null)')
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to the engine: a path below its url, a body, and how its good reply is framed."""

    path: str
    body: Body
    reply: ReplyKind = "whole"
    headers: Mapping[str, str] = {}


class Dialect:
    """One attempt in one family's words: the core makes an instance for each attempt of each call.

    This class is the home wire itself (family `home`): it changes the model's name there and back,
    nothing else.
    """

    modality: ClassVar[str] = ""
    family: ClassVar[str] = "home"
    probe: ClassVar[str] = "/health"

    def __init__(self, call: Call, served: Served) -> None:
        self.call = call
        self.served = served
        self._name: tuple[bytes, bytes] | None = None

    def encode(self) -> Outgoing:
        """The call as the engine wants it; Unsupported when it cannot be said."""
        return Outgoing(
            path=self.call.path,
            body=self.call.body.put(model=self.served.name),
            reply=self.call.reply,
        )

    def decode(self, event: Event) -> Iterable[Event]:
        """An engine's event as events of the home wire; BadReply when it does not fit."""
        if self.call.reply != "chunked":
            event.data = self.renamed(event.data)
        return (event,)

    def end(self, done: bool) -> Iterable[Event]:
        """Called when the engine's reply ended: what is still to be said.

        `done`: the stream said `[DONE]`.  UpstreamFailed when it was cut; a family whose streams
        end otherwise says so here.
        """
        if self.call.reply == "sse" and not done:
            raise UpstreamFailed("the engine's stream ended early")
        return ()

    def renamed(self, data: bytes) -> bytes:
        """A JSON reply that calls the model as the client did, whatever the engine calls it.

        Of a stream the engine's spelling is learned once; from then on it is searched for.
        """
        if self._name is not None and self._name[0] in data:
            return data.replace(*self._name, 1)
        asked = orjson.dumps(self.served.asked)
        if (plain := _plain_model(data)) is not None:
            self._name = (plain, b'"model":' + asked)
            return data.replace(*self._name, 1)
        found = _MODEL.search(data)
        if found is None:
            return data
        try:
            members = _MEMBERS.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return data  # no object: whoever reads it next says so
        if "model" not in members:
            return data
        if found.group(1) != bytes(members["model"]) or b'"model"' in data[found.end() :]:
            # One further in comes first, or there is another: all but the last would be left.
            return msgspec.json.encode({**members, "model": msgspec.Raw(asked)})
        self._name = (found.group(), b'"model":' + asked)
        return data.replace(*self._name, 1)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error reply as one of ours.

        Its text is passed on only where the client can act on it (4xx), under the client's name of
        the model.
        """
        return refusal_of(status, headers, self.served.as_asked(engine_message(body)))


def _plain_model(data: bytes) -> bytes | None:
    """The member that names the model, without decoding the reply; None where that takes a decoder.

    It is found where it is surely the object's own, because nothing was opened before it, and the
    only one of its name.
    """
    at = data.find(b'"model":"')
    end = data.find(b'"', at + 9) + 1
    if at < 0 or not end or data.find(b"[", 0, at) >= 0 or data.count(b"{", 0, at) != 1:
        return None
    member = data[at:end]
    return None if b"\\" in member or data.find(b'"model"', end) >= 0 else member


def engine_message(body: bytes) -> str:
    """The message of an engine's error body, whatever family wrote it.

    '' when there is none.
    """
    try:
        value: Json = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    for _ in range(3):
        if isinstance(value, list):
            value = value[0] if value else ""
        if not isinstance(value, dict):
            break
        value = next(
            (
                value[key]
                for key in ("error", "message", "detail", "msg", "errorMsg")
                if value.get(key)
            ),
            "",
        )
    return value[:MESSAGE_AT_MOST] if isinstance(value, str) else ""


def refusal_of(status: int, headers: Mapping[str, str], message: str) -> GatewayError:
    """The error for an engine's status; 5xx texts stay inside, they may name hosts and files.

    A path or a model that it does not have, and a key that it refuses, are the operator's fault.
    """
    error: GatewayError
    if status == 413:
        return TooLarge(message or "the engine says that the request is too large")
    if status in (429, 503):
        error = Overloaded("the engine is overloaded; try again later")
        wait = headers.get("retry-after", "")
        error.retry_after_s = min(float(wait), RETRY_AT_MOST_S) if wait.isdecimal() else 1.0
        return error
    if status == 404:
        return UpstreamFailed("the engine does not know the model or the path")
    if status in (400, 415, 422):
        return Refused(
            None, "invalid_value", message or f"the engine refused the request with status {status}"
        )
    return UpstreamFailed(f"the engine answered with status {status}")
