"""A chat in the words of Mistral's SDKs, whose types insist on what OpenAI's wire does not say.

Mistral's server says each call of a tool once and whole, in the chunk that finishes its choice.
That chunk has the usage, too, asked for or not; reasoning is a part of the content, which is never
null.  A chat becomes that behind its own relay, which meters: the bill is that of the same chat at
any cut.

Source: mistralai 1.12.4, 2.10.1 and 3.7.0, models (CompletionChunk, ToolCall, ThinkChunk,
AssistantMessage).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

from msgspec import structs

from modgate.kit.chat_join import join_calls
from modgate.kit.chat_relay import DONE, NULL_USAGE, as_usage, reported
from modgate.kit.chat_wire import decoded, encoded
from modgate.kit.converse.exact import Sent
from modgate.plugin import (
    BadReply,
    Event,
    Json,
    JsonObject,
    Need,
    Outcome,
    Plan,
    Refused,
    Relay,
    Request,
    Usage,
)

SURFACE = "mistral"
# What Mistral's own server puts into a prompt, or checks; a chat without it would be another one.
SERVERS = ("safe_prompt", "prompt_mode", "guardrails")
# What no plain chunk has; a quote inside a text is escaped, so each of these is a member.
_ELSE = re.compile(
    rb'"(?:tool_calls|reasoning(?:_content)?)"\s*:|"finish_reason"\s*:\s*"|"usage"\s*:\s*\{'
    rb'|"content"\s*:\s*null'
)
_OPEN = b'"finish_reason":null'  # the SDKs want the member

Chat = Callable[[Request], Generator[Need, Json, Plan]]


def understood(chat: Chat) -> Chat:
    """The shape of a chat, for Mistral's SDKs as well."""

    def shape(request: Request) -> Generator[Need, Json, Plan]:
        return _in_words(chat, request) if request.surface.name == SURFACE else chat(request)

    return shape


def _in_words(chat: Chat, request: Request) -> Generator[Need, Json, Plan]:
    plan = yield from chat(as_chat(request))
    return replace(plan, relay=MistralRelay(plan.relay))


def as_chat(request: Request) -> Request:
    """The same request in OpenAI's words; Refused for what only Mistral's server does.

    What fits neither is left to whoever reads the chat.
    """
    fields, parsed = request.fields(), request.parsed
    for name in SERVERS:
        if fields.get(name):
            reason = f"'{name}' is not supported: say what you want in a system message"
            raise fields.fault(name, "unsupported_value", reason)
    put: JsonObject = {}
    if isinstance(given := parsed.get("messages"), list):
        sent = cache(partial(Sent, request.body))
        messages = [_message(each, f"messages[{at}]", sent) for at, each in enumerate(given)]
        if messages != given:
            put["messages"] = messages
    options = parsed.get("stream_options") or {}
    if parsed.get("stream") is True and isinstance(options, dict):
        put["stream_options"] = {**options, "include_usage": True}
    gone = [name for name in SERVERS if name in parsed]
    kept = {name: value for name, value in parsed.items() if name not in gone}
    body = request.body.drop(*gone).put(**put)
    return structs.replace(request, body=body, parsed={**kept, **put})


def _message(message: Json, at: str, sent: Callable[[], Sent]) -> Json:
    """What an assistant said, thought and called, as engines read it."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    made = dict(message)
    if made.pop("prefix", None):
        reason = "'prefix' is not supported: an answer cannot be made to begin with a text"
        raise Refused(f"{at}.prefix", "unsupported_value", reason)
    if isinstance(content := made.get("content"), list):
        thoughts = [_thought(part) for part in content if _is(part, "thinking")]
        rest = [part for part in content if not _is(part, "thinking")]
        alone = len(rest) == 1 and _is(rest[0], "text")
        made["content"] = rest[0].get("text") if alone else rest or None
        if thoughts:
            made["reasoning_content"] = "\n".join(thoughts)
    if isinstance(calls := made.get("tool_calls"), list):
        made["tool_calls"] = [
            _call(call, f"{at}.tool_calls[{index}]", sent) for index, call in enumerate(calls)
        ]
    return made


def _is(part: Json, kind: str) -> bool:
    return isinstance(part, dict) and part.get("type") == kind


def _thought(part: JsonObject) -> str:
    """The texts of a thought; sources that it names are for who reads it."""
    inner = part.get("thinking")
    many = inner if isinstance(inner, list) else [{"type": "text", "text": inner}]
    texts = [each.get("text") for each in many if _is(each, "text")]
    return "".join(text for text in texts if isinstance(text, str))


def _call(call: Json, at: str, sent: Callable[[], Sent]) -> Json:
    """A call whose arguments may be an object: then they are a text to engines, to the letter."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), dict):
        return call
    written = sent().at(f"{at}.function.arguments").decode()
    return {**call, "function": {**function, "arguments": written}}


class MistralRelay(Relay):
    """One chat, whole or streamed, of any number of choices."""

    def __init__(self, chat: Relay) -> None:
        self.head = chat.head
        self._chat = chat
        self._stream = chat.head.kind == "sse"
        self._whole: list[bytes] = []
        self._calls: dict[int, list[JsonObject]] = {}  # by choice, until it has finished
        self._held: JsonObject | None = None  # the chunk that finished a choice: the usage follows

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One event of the chat, metered by its own relay."""
        said = self._chat.feed(index, event)
        if self._stream:
            return self._told(said)
        self._whole += said
        return ()

    def _told(self, said: Iterable[bytes]) -> Iterator[bytes]:
        for data in said:
            if self._held is None and _OPEN in data and _ELSE.search(data) is None:
                yield NULL_USAGE.sub(b"", data, count=1)
            elif data != DONE:
                yield from self._chunk(decoded(data.removeprefix(b"data: ")))

    def _chunk(self, value: JsonObject) -> Iterator[bytes]:
        usage, given = value.pop("usage", None), value.get("choices")
        if not isinstance(given, list):
            raise BadReply("the engine's event has no choices")
        if given and self._held is not None:
            yield _event(self._held)
            self._held = None
        choices = [choice for choice in given if self._says(choice)]
        value["choices"] = choices
        if any(choice["finish_reason"] is not None for choice in choices):
            self._held = value
        elif choices:
            yield _event(value)
        if self._held is not None and reported(usage) is not None:
            self._held["usage"] = usage

    def _says(self, choice: Json) -> bool:
        """Put a choice into these words; whether anything is left of it to be said now."""
        if not isinstance(choice, dict) or type(index := choice.get("index")) is not int:
            raise BadReply("the engine's event has a choice without an index")
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            raise BadReply("the engine's event has a choice without a delta")
        pieces = delta.pop("tool_calls", None)
        if pieces:
            join_calls(self._calls.setdefault(index, []), pieces)
        left = not pieces or any(value is not None for value in delta.values())
        if choice.setdefault("finish_reason", None) is not None:
            left = True
            if calls := self._calls.pop(index, None):
                delta["tool_calls"] = calls
        _put(choice, delta)
        return left

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """The chunk that was held, and the end; or the whole reply."""
        rest = self._chat.close(outcomes)
        if not self._stream:
            yield self._completion(b"".join((*self._whole, *rest)), outcomes)
            return
        yield from self._told(rest)
        if self._calls:
            raise BadReply("the engine's stream ended in the middle of a call")
        if self._held is not None:
            yield _event({"usage": self._cost(outcomes), **self._held})
        yield DONE

    def _completion(self, data: bytes, outcomes: Sequence[Outcome]) -> bytes:
        value = decoded(data)
        for choice in value.get("choices") or ():
            said = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(said, dict):
                _put(choice, said, closed=True)
        if reported(value.get("usage")) is None:
            value["usage"] = self._cost(outcomes)
        return encoded(value)

    def _cost(self, outcomes: Sequence[Outcome]) -> JsonObject:
        """The bill, where an engine reports nothing: the SDKs want a usage."""
        return as_usage(self.usage(outcomes).units)

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The chat's."""
        return self._chat.usage(outcomes)


def _put(choice: JsonObject, said: JsonObject, **more: Json) -> None:
    """What a choice says, in these words.

    Reasoning is a part in front of the text; `more` is said of it.  Calls are numbered, and end a
    choice also where the engine said `stop`, as it does of a call that was forced.
    """
    named = [said.pop(name, None) for name in ("reasoning_content", "reasoning")]
    text = said.get("content")
    if thought := next((each for each in named if each), None):
        said["content"] = [
            {"type": "thinking", "thinking": [{"type": "text", "text": thought}], **more},
            *([{"type": "text", "text": text}] if text else ()),
        ]
    elif text is None:
        said["content"] = ""
    calls = said.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return
    for index, call in enumerate(calls):
        if isinstance(call, dict):
            call["index"] = index
    if choice.get("finish_reason") == "stop":
        choice["finish_reason"] = "tool_calls"


def _event(value: JsonObject) -> bytes:
    return b"data: " + encoded(value) + b"\n\n"
