"""Relaying a chat or completions reply: the engine's bytes as they are, and the tokens counted.

Hot path: an event of a stream is scanned, not parsed; only the one with usage is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import orjson

from modgate.kit.tokens import estimate
from modgate.plugin import (
    SSE,
    BadReply,
    Event,
    Head,
    Json,
    JsonObject,
    Outcome,
    Relay,
    Units,
    Usage,
)

_TEXT = re.compile(rb'"(?:content|text|arguments)"\s*:\s*"(?!")')
_REASONING = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"(?!")')
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,')
DONE = b"data: [DONE]\n\n"


class ChatRelay(Relay):
    """One chat.  `extra`: units that the gateway knows beforehand (images), billed once sent."""

    def __init__(
        self, *, stream: bool, include_usage: bool, prompt: int, extra: Units | None = None
    ) -> None:
        self.head = SSE if stream else Head()
        self._stream = stream
        self._include = include_usage
        self._prompt = prompt
        self._extra = extra or Units()
        self._counted = 0
        self._fed = False
        self._reported: Units | None = None
        self._estimated: int | None = None

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One SSE event, or the whole reply."""
        data = event.data
        if not self._stream:
            self._whole(event)
            return (data,)
        if data[:1] != b"{" or data[-1:] != b"}":
            raise BadReply("the engine's event is not a JSON object")
        self._fed = True
        if b'"usage"' in data:
            kept = self._with_usage(data)
            if kept is None:
                return ()
            data = kept
        self._counted += len(_TEXT.findall(data)) or (1 if _REASONING.search(data) else 0)
        return (b"data: " + data + b"\n\n",)

    def _with_usage(self, data: bytes) -> bytes | None:
        """An event that names usage: noted, and stripped where the client did not ask for it."""
        bare = _NULL_USAGE.sub(b"", data, count=1)
        if bare is not data and b'"usage"' not in bare:
            return data if self._include else bare
        value = _object(data)
        self._note(value.get("usage"))
        if value.get("choices"):
            value.pop("usage", None)
            if self._include:
                value["usage"] = None
            return orjson.dumps(value)
        return data if self._include else None

    def _note(self, usage: Json) -> None:
        if not isinstance(usage, dict):
            return
        output = _count(usage.get("completion_tokens"))
        inside = {"output_tokens": max(output, self._counted)}
        inside["input_tokens"] = _count(usage.get("prompt_tokens"))
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            inside["cached_tokens"] = _count(details.get("cached_tokens"))
            if details.get("image_tokens"):
                inside["image_tokens"] = _count(details["image_tokens"])
        found = Units(inside)
        self._reported = found if self._reported is None else self._reported.most(found)

    def _whole(self, event: Event) -> None:
        value = event.json()
        if not isinstance(value, dict) or not isinstance(value.get("choices"), list):
            raise BadReply("the engine's reply is not a chat completion")
        self._fed = True
        self._note(value.get("usage"))
        if self._reported is None:
            self._estimated = sum(estimate(text) for text in _texts(value["choices"]))

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """A stream ends with [DONE]."""
        return (DONE,) if self._stream else ()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The engine's own count once it said it; before that the deltas that were relayed."""
        extra = self._extra if self._fed else Units()
        if self._reported is not None:
            units = self._reported.most({"output_tokens": self._counted})
            return Usage(units + extra, exact=True, by="engine")
        if self._estimated is not None:
            units = Units(input_tokens=self._prompt, output_tokens=self._estimated)
            return Usage(units + extra, exact=False, by="estimate")
        return Usage(Units(output_tokens=self._counted) + extra, exact=False, by="gateway")


def _object(data: bytes) -> JsonObject:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadReply("the engine's event is not valid JSON") from None
    if not isinstance(value, dict):
        raise BadReply("the engine's event is not a JSON object")
    return value


def _count(value: Json) -> int:
    return value if type(value) is int and value >= 0 else 0


def _texts(choices: Sequence[Json]) -> Iterable[str]:
    for choice in choices:
        if not isinstance(choice, Mapping):
            continue
        message = choice.get("message")
        text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
        if isinstance(text, str) and text:
            yield text
