"""The chat home wire at an engine.

Errors that hide in streams, a `[DONE]` that may be missing, and the words in which engines differ.
Hot path: an event is searched, and decoded only where a search cannot do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import orjson

from modgate.kit.chat_overflow import overflow
from modgate.kit.chat_template import Template
from modgate.kit.chat_wire import Extra, finished, given_up, has_finished, one_reasoning
from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Dialect,
    Event,
    GatewayError,
    JsonObject,
    Outgoing,
    Refused,
    Served,
    Unsupported,
    UpstreamFailed,
    engine_message,
    refusal_of,
)

NAMES = ("", "message", "error")  # chat events have none; what has another is not for us
OLD_MAXIMUM, NEW_MAXIMUM = "max_tokens", "max_completion_tokens"
_MEMBER, _CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,99}"), re.compile(r"[a-z0-9_]{1,60}")
REASONING = ("reasoning_content", "reasoning")


class ChatDialect(Dialect):
    """An engine that speaks OpenAI chat; families derive from it.

    `maximum`: its name for the client's bound of the output.  `reasoning`: the name under which it
    reads the reasoning of earlier turns, `as it came`, or None = it refuses both names.
    `developer`: its name for that role, which many templates leave out in silence.  `salted`: it
    keeps apart, by `cache_salt`, what it remembers of prompts.  `moderates`: it may act on
    `moderation`; engines that do not would leave it out in silence.  `extra`: members of its own,
    which the client does not get.
    """

    tokenizes: ClassVar[bool] = False
    maximum: ClassVar[str] = OLD_MAXIMUM
    reasoning: ClassVar[Literal["as it came", "reasoning", "reasoning_content"] | None] = (
        "as it came"
    )
    developer: ClassVar[Literal["developer", "system"]] = "developer"
    salted: ClassVar[bool] = False
    moderates: ClassVar[bool] = True
    extra: ClassVar[Extra | None] = None

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._begun = self._finished = False
        self._template = Template()

    def encode(self) -> Outgoing:
        """The body with the engine's name; `/tokenize` only where the family has it."""
        if self.call.path == "/tokenize" and not self.tokenizes:
            raise Unsupported(f"engines of family '{self.family}' count no tokens")
        body = self.body().put(model=self.served.name)
        if self.salted and self.call.isolation and self.call.path != "/tokenize":
            # the caller's own corner of the prefix cache, whose timing would tell of others
            body = body.put(cache_salt=self.call.isolation)
        return Outgoing(path=self.call.path, body=body, reply=self.call.reply)

    def body(self) -> Body:
        """The call's body in the family's words, but for the model's name."""
        body, wanted = self.call.body, self.maximum
        if self.completes:
            wanted = OLD_MAXIMUM  # the older wire knows no other
        body = body.rename(NEW_MAXIMUM if wanted == OLD_MAXIMUM else OLD_MAXIMUM, wanted)
        thoughts, role = self.reasoning != "as it came", self.developer != "developer"
        if not (thoughts or role) and self.moderates:
            return body
        members = body.members()
        if not self.moderates and members.get("moderation", b"null") != b"null":
            reason = "'moderation' is not supported: this model's engine moderates nothing"
            raise Unsupported(reason, "moderation")
        messages = members.get("messages", b"")
        thoughts &= b'"reasoning' in messages
        role &= b'"developer"' in messages
        if not (thoughts or role):
            return body
        told: list[JsonObject] = orjson.loads(messages)
        if thoughts:
            told = _remembered(told, self.reasoning)
        return body.put(messages=[_role(each, self.developer) for each in told])

    @property
    def completes(self) -> bool:
        """Whether the call is of the older wire, `/v1/completions`."""
        return self.call.path.endswith("/v1/completions")

    def decode(self, event: Event) -> Iterable[Event]:
        """An event in the words of the home wire; an error that an engine says in a good reply is
        raised."""
        if event.name not in NAMES:
            return ()
        streams = self.call.reply == "sse"
        if streams and self.alike(event):
            return (event,)
        data = event.data
        if streams and b"\n" in data:  # of several data lines; no string has one
            event.data = data = data.replace(b"\n", b" ")
        if b'"error"' in data:
            self.told(data)
        if not self._begun:
            self.begins(event)
        event.data = self.worded(data)
        if has_finished(data):
            self._ends(data)
        elif streams:
            self._template.learn(data, self.worded)
        return (event,)

    def _ends(self, data: bytes) -> None:
        """Note that a choice has finished; UpstreamFailed where the engine gave it up by itself."""
        if given_up(data):
            raise UpstreamFailed("the engine gave up in the middle of its reply")
        self._finished = True

    def begins(self, event: Event) -> None:
        """BadReply unless a reply begins as one: here the call may still be tried elsewhere."""
        value = event.json()
        if not isinstance(value, dict):
            raise BadReply("the engine's reply is not a JSON object")
        if self.call.path != "/tokenize" and not isinstance(value.get("choices"), list):
            raise BadReply("the engine's reply is not a chat completion")
        self._begun = True

    def alike(self, event: Event) -> bool:
        """Put a chunk that is like the last one into the words of the home wire; False where it is
        not."""
        made = self._template.filled(event.data)
        if made is None:
            return False
        event.data = made
        return True

    def worded(self, data: bytes) -> bytes:
        """A reply in the words of the home wire; pure but for the engine's name of the model,
        learned once.

        The name is replaced first: what was learned of it has the engine's own spaces.
        """
        data = finished(self.renamed(data))
        if b'"reasoning"' in data:
            data = one_reasoning(data)
        if self.extra is not None and not self.call.raw:
            data = self.extra.without(data)
        return data

    def told(self, data: bytes) -> None:
        """Raise the error of a reply that is one: nested, a text, or flat."""
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        if not isinstance(value, dict):
            return
        told = value.get("error")
        if value.get("object") == "error":
            told = value
        if not told:
            return
        code = told.get("code") if isinstance(told, dict) else None
        if type(code) is int and 400 <= code < 600:
            raise self.refusal(code, {}, data)
        raise self.overflow(engine_message(data)) or UpstreamFailed("the engine reported an error")

    def end(self, done: bool) -> Iterable[Event]:
        """A missing [DONE] is forgiven once a finish_reason was seen."""
        if not (done or self._finished):
            raise UpstreamFailed("the engine's stream ended early")
        if not self._begun:
            raise BadReply("the engine's stream has no choices")
        return ()

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error; an overflow of its context in the exact words that SDKs match on.

        What it calls the model stays inside, and a model that it does not have is the operator's.
        """
        message = engine_message(body)
        if status in (400, 413, 422) and (found := self.overflow(message)) is not None:
            return found
        if status == 501:
            return Refused(None, "unsupported_value", "the engine does not support this request")
        message = self.served.as_asked(message)
        return _blamed(refusal_of(status, headers, message), body)

    def overflow(self, message: str) -> Refused | None:
        """The context error that an engine's text means, if it means one."""
        return overflow(message, self.param)

    @property
    def param(self) -> str:
        """The member that holds the prompt."""
        return "prompt" if self.completes else "messages"


def _role(message: JsonObject, developer: str) -> JsonObject:
    return {**message, "role": developer} if message.get("role") == "developer" else message


def _blamed(error: GatewayError, body: bytes) -> GatewayError:
    """A refusal with the member and the code that the engine names, where they are words."""
    if not isinstance(error, Refused):
        return error
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return error
    told = told.get("error", told) if isinstance(told, dict) else None
    if isinstance(told, dict):
        if isinstance(told.get("param"), str) and _MEMBER.fullmatch(told["param"]):
            error.field = told["param"]
        if isinstance(told.get("code"), str) and _CODE.fullmatch(told["code"]):
            error.code = told["code"]
    return error


def _remembered(messages: list[JsonObject], name: str | None) -> list[JsonObject]:
    """Messages with the reasoning of earlier turns under one name, or without it."""
    made = []
    for message in messages:
        thought = next((message[each] for each in REASONING if message.get(each)), None)
        plain = {key: value for key, value in message.items() if key not in REASONING}
        made.append(plain if name is None or thought is None else {**plain, name: thought})
    return made
