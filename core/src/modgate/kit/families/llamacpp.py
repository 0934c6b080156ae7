"""llama.cpp's server: its errors, its token counter, and where it says that it is well.

Source: wire.md 2.6 and 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import orjson

from modgate.kit.chat_dialect import NAMES, ChatDialect
from modgate.kit.chat_join import Joined
from modgate.kit.chat_overflow import context_exceeded
from modgate.kit.chat_wire import Created, Extra, encoded, has_finished
from modgate.kit.engine_error import error_in
from modgate.kit.families.llamacpp_absence import absence
from modgate.kit.families.llamacpp_words import VERBOSE, OldLogprobs, tell_stop, without_numbers
from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Event,
    GatewayError,
    Json,
    JsonObject,
    Outgoing,
    Refused,
    Served,
)

EXTRA = Extra("timings", VERBOSE, "generation_settings", "prompt_progress")
# Of a completion, what the server would leave out in silence.
UNHEARD = ("echo", "suffix")
_NO_INPUT = re.compile(r"(image|audio|video) input is not supported")
TOLD_AT_MOST = 2**20  # bytes of a prompt that the server may say again in an account of the reply
COUNT_CHAT = "/v1/chat/completions/input_tokens"


class LlamaCpp(ChatDialect):
    """What every modality's llama.cpp dialect shares.

    Upstream is always a stream, also for a client that wants the whole: the server notices a lost
    client only while it streams.  Its usage of several choices comes in several events; they are
    added up and said once, at the end.  Of one choice its last word counts, however often it tells.
    """

    family = "llamacpp"
    probe = "/health"
    tokenizes = True
    reasoning = "reasoning_content"
    developer = "system"
    moderates = False
    extra = EXTRA

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._created = Created()
        self._told: dict[int, JsonObject] = {}  # usage by choice
        self._choice = 0  # that was told of last
        self._last: JsonObject = {}
        self._joined = Joined() if call.reply == "whole" else None
        self._logprobs = OldLogprobs()

    def encode(self) -> Outgoing:
        """A stream with usage, on a connection of its own: the server closes it after a stream."""
        if self.call.path == "/tokenize":
            return self._count()
        options = {"include_usage": True}
        body = self.body().put(model=self.served.name, stream=True, stream_options=options)
        members = body.members()
        if self.completes:
            _heard(members)
        elif "stop" in members and len(members.get("messages", b"")) <= TOLD_AT_MOST:
            body = body.put(verbose=True)  # only then it says which of them it met
        close = {"Connection": "close"}
        return Outgoing(path=self.call.path, body=body, reply="sse", headers=close)

    def _count(self) -> Outgoing:
        """Counting a chat with its template, or plain text."""
        members = self.call.body.members()
        if "messages" in members:
            told = {name: members[name] for name in ("messages", "tools") if name in members}
            return Outgoing(path=COUNT_CHAT, body=Body("json", members=told))
        text = self.call.body.member("prompt", "")
        return Outgoing(path="/tokenize", body=Body.of(content=text))

    def decode(self, event: Event) -> Iterable[Event]:
        """Usage is kept back, its own keys are taken out; of a whole reply nothing goes on yet."""
        if self.call.path == "/tokenize":
            return (_counted(event),)
        if event.data == b"null" or event.name not in NAMES:
            return ()
        if self._joined is None and self.alike(event):
            return (event,)
        if b'"error"' in event.data:
            self.told(event.data)
        if self._joined is not None or self._own(event.data):
            value = event.fields().values
            self._keep(value)
            if not (self._joined is not None or value.get("choices")):
                return ()
            event.data = encoded(value)
        passed = super().decode(event)
        return () if self._joined is not None else passed

    def _own(self, data: bytes) -> bool:
        """Whether an event has what must be told otherwise, or is the last of a choice."""
        if b'"usage"' in data or b'"__verbose"' in data or has_finished(data):
            return True
        return (self.completes or not self.call.raw) and b'"logprobs":{' in data

    def worded(self, data: bytes) -> bytes:
        """Its clock goes on while it streams; a reply was created once."""
        return self._created.same(super().worded(data))

    def _keep(self, value: JsonObject) -> None:
        tell_stop(value)
        if not self.call.raw:
            without_numbers(value)
            for key in EXTRA.names:
                value.pop(key, None)
        usage = value.pop("usage", None)
        self._last = {name: value[name] for name in value if name != "choices"}
        if self._joined is not None:
            self._joined.add(value)
        elif self.completes:
            self._logprobs.tell(value)
        self._tells_of(value.get("choices"))
        if isinstance(usage, dict) and usage:
            self._told[self._choice] = usage

    def _tells_of(self, choices: Json) -> None:
        """Which choice an event is of; one without choices is of that which ended last."""
        if not (isinstance(choices, list) and choices):
            return
        index = choices[0].get("index") if isinstance(choices[0], dict) else None
        if type(index) is int:
            self._choice = index
        elif self.completes:
            raise BadReply("the engine's event has a choice without an index")

    def _usage(self) -> JsonObject:
        """What each choice wrote, and what was read once for each prompt.

        A completion's prompts have `n` choices each, in order.
        """
        n = self.call.body.member("n", 1) or 1
        (first, joint), *others = self._told.items()
        read = {first // n if self.completes else 0}
        for choice, usage in others:
            prompt = choice // n if self.completes else 0
            joint = _added(joint, _only_written(usage) if prompt in read else usage)
            read.add(prompt)
        return joint

    def end(self, done: bool) -> Iterable[Event]:
        """The whole reply, or the one usage event of a stream."""
        tuple(super().end(done))
        usage = {"usage": self._usage()} if self._told else {}
        if self._joined is not None:
            value = {**self._joined.reply(), **usage}
            if self.completes:
                self._logprobs.tell(value)
        elif usage:
            value = {**self._last, "choices": [], **usage}
        else:
            return ()
        value["model"] = self.served.asked
        if self._created.at is not None:
            value["created"] = self._created.at
        return (Event(encoded(value)),)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A model that is not there; a context overflow with both numbers.

        It calls it a fault of its own when it is sent what its model cannot see or hear.
        """
        error = error_in(body)
        message = str(error.get("message", ""))
        if (found := _NO_INPUT.match(message)) is not None:
            return Refused(self.param, "unsupported_value", f"this model takes no {found[1]} input")
        if error.get("type") == "exceed_context_size_error":
            prompt, context = error.get("n_prompt_tokens"), error.get("n_ctx")
            if type(prompt) is int and type(context) is int:
                return context_exceeded(context, prompt, None, self.param)
        return absence(status, message) or super().refusal(status, headers, body)


def _only_written(usage: JsonObject) -> JsonObject:
    wrote = usage.get("completion_tokens", 0)
    return {"completion_tokens": wrote, "total_tokens": wrote}


def _added(usage: JsonObject, more: JsonObject) -> JsonObject:
    """The sum of two accounts, member by member; what is no number stays as it is."""
    made = dict(usage)
    for name, value in more.items():
        was = made.get(name)
        if isinstance(value, dict):
            made[name] = _added(was if isinstance(was, dict) else {}, value)
        elif isinstance(value, int | float):
            made[name] = (was if isinstance(was, int | float) else 0) + value
    return made


def _heard(members: Mapping[str, bytes]) -> None:
    """Refused where a completion asks for what the server would leave out in silence."""
    for name in UNHEARD:
        if members.get(name, b"null") not in (b"null", b"false", b'""'):
            raise Refused(name, "unsupported_value", f"this model's engine knows no '{name}'")
    if members.get("best_of", b"null") not in (b"null", members.get("n", b"1")):
        reason = "this model's engine makes as many choices as are wanted; 'best_of' must be 'n'"
        raise Refused("best_of", "unsupported_value", reason)


def _counted(event: Event) -> Event:
    """`{"count": n}` of either counter's reply."""
    fields = event.fields()
    if "input_tokens" in fields:
        return Event(orjson.dumps({"count": fields.integer("input_tokens", at_least=0)}))
    return Event(orjson.dumps({"count": len(fields.items("tokens", empty=True))}))
