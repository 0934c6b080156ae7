"""Relaying a chat or completions reply: the engine's bytes as they are, and the tokens counted.

Hot path: an event of a stream is scanned, not parsed; only the one with usage is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import msgspec

from modgate.kit.chat_legacy import as_functions
from modgate.kit.chat_template import Template
from modgate.kit.chat_wire import (
    CallIds,
    Extra,
    aliased,
    decoded,
    encoded,
    has_finished,
    identified,
)
from modgate.kit.tokens import estimate
from modgate.kit.told import told
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

Alias = Literal["both", "reasoning_content", "reasoning"]

_TEXT = re.compile(rb'"(?:content|text|arguments)"\s*:\s*"(?!")')
_REASONING = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"(?!")')
NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,')
_LAST_NULL_USAGE = b',"usage":null}'
_STOP_REASON = Extra("stop_reason")  # of the home wire: for surfaces that say what stopped it
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
DONE = b"data: [DONE]\n\n"
IGNORED = "x-modgate-ignored"
WHOLE = Head()


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """In which words a client gets its reply.

    `alias`: the names that reasoning has.  `legacy`: functions in place of tools.  `raw`: members
    of the engine's own stay.  `ignored`: members of the request that had no effect, which a header
    tells.
    """

    alias: Alias = "both"
    legacy: bool = False
    raw: bool = False
    ignored: tuple[str, ...] = ()

    def head(self, *, stream: bool) -> Head:
        """How the reply opens."""
        head = SSE if stream else WHOLE
        return replace(head, headers={IGNORED: ", ".join(self.ignored)}) if self.ignored else head

    def styled(self, data: bytes) -> bytes:
        """A reply or a chunk of the home wire in these words."""
        if b'"reasoning_content"' in data and self.alias != "reasoning_content":
            data = aliased(data, self.alias)
        if b'"stop_reason"' in data and not self.raw:
            data = _STOP_REASON.without(data)
        if self.legacy and b'"tool_calls"' in data:
            value = decoded(data)
            as_functions(value)
            data = encoded(value)
        return data


PLAIN = Style()


class ChatRelay(Relay):
    """One chat.

    `extra`: units that the gateway knows beforehand (images), billed once sent.  `least`: tokens
    that the prompt has for certain, billed when the engine never said how many it read.
    `echoed`: prompts that a completion says again, where it was asked to; nobody wrote these.
    `sees`: whether tokens of pictures are a unit of its modality.
    """

    sees: ClassVar[bool] = False

    def __init__(
        self,
        *,
        stream: bool,
        include_usage: bool,
        prompt: int,
        extra: Units | None = None,
        least: int = 0,
        echoed: Sequence[str] | None = None,
        style: Style = PLAIN,
    ) -> None:
        self.head = style.head(stream=stream)
        self._stream = stream
        self._include = include_usage
        self._prompt = prompt
        self._least = least
        self._echoed = echoed
        self._said: dict[int, int] = {}  # characters by choice, of those that say the prompt again
        self._extra = extra
        self._styled = style.styled
        self._template = Template()
        self._call_ids = CallIds()
        self._counted = 0
        self._fed = False
        self._first = b""  # the first chunk: the last one is made of it where no usage came
        self._final = False
        self._unshown: JsonObject | None = None  # the last with usage: a client's is made of it
        self._reported: Units | None = None
        self._fell = False  # a last word of the engine is less than it had said before
        self._estimated: int | None = None

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One SSE event, or the whole reply."""
        data = event.data
        if not self._stream:
            return (self._styled(self._whole(event)),)
        if (made := self._template.filled(data)) is not None:
            self._counted += 1
            return (made,)
        if data[:1] != b"{" or data[-1:] != b"}":
            raise BadReply("the engine's event is not a JSON object")
        self._fed = True
        if (shown := self._shown(data)) is None:
            return ()
        self._first = self._first or data
        self._count(data, shown)
        return (_event(self._styled(shown)),)

    def _shown(self, data: bytes) -> bytes | None:
        """A chunk as far as it is for this client; None where nothing is left of it."""
        data = bare = self._call_ids.once(data)
        if b'"usage"' in data:
            bare = _without_null(data)
            if b'"usage"' in bare:
                return self._with_usage(data)
        if _NO_CHOICES.search(bare) is not None:
            return None  # without usage it says nothing, and many clients read its first choice
        return _uncounted(data) if self._include else bare

    def _count(self, plain: bytes, data: bytes) -> None:
        """Count the texts of a chunk, and learn a chunk that holds one text and nothing else."""
        if self._echoed:
            self._counted += self._beyond_prompt(data)
            return
        texts = len(_TEXT.findall(data)) or (1 if _REASONING.search(data) else 0)
        self._counted += texts
        if texts == 1 and (b'"usage"' not in plain or plain.endswith(_LAST_NULL_USAGE)):
            self._template.learn(plain, self._written)

    def _beyond_prompt(self, data: bytes) -> int:
        """How many texts of a chunk go beyond the prompt, which each choice of an echo says first.

        The longest of several prompts is taken for each choice: the count is a floor.
        """
        choices, least, found = decoded(data).get("choices"), max(map(len, self._echoed or ())), 0
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict) or type(index := choice.get("index")) is not int:
                raise BadReply("the engine's event has a choice without an index")
            more = sum(map(len, _texts(choice)))
            said = self._said[index] = self._said.get(index, 0) + more
            found += more > 0 and said > least
        return found

    def _written(self, data: bytes) -> bytes:
        """The event of a plain chunk."""
        return _event(self._styled(self._shown(data) or data))

    def _with_usage(self, data: bytes) -> bytes | None:
        """An event that names usage: noted, and stripped where the client did not ask for it."""
        value = lifted(decoded(data))
        usage, choices = value.get("usage"), value.get("choices")
        if not isinstance(choices, list | None):
            raise BadReply("the engine's event has no choices")
        last = not choices
        counts = self._note(usage, last=last)
        if counts:
            self._final = last or has_finished(data)
        if self._include and (counts or (self._reported is None and isinstance(usage, dict))):
            self._unshown = value  # at the end; what is no count makes way for the bill there
        if last:
            return None
        if self._include:
            return encoded({**value, "usage": None})
        value.pop("usage", None)
        return encoded(value)

    def _note(self, usage: Json, *, last: bool) -> bool:
        """Keep an engine's usage; False where it is no count.

        Usage beside a choice may be that choice's own, so the largest counts; usage without a
        choice is the last word.
        """
        found, before = reported(usage, sees=self.sees), self._reported
        if found is None:
            return False
        self._reported = found if last or before is None else before.most(found)
        fell = last and before is not None and bool(before.beyond(found))
        self._fell = self._fell or fell
        return True

    def _whole(self, event: Event) -> bytes:
        """The whole reply; a usage that is no count makes way for the bill."""
        value = event.json()
        if not isinstance(value, dict) or not isinstance(value.get("choices"), list):
            raise BadReply("the engine's reply is not a chat completion")
        self._fed = self._final = True
        outside, usage = value.get("usage"), lifted(value).get("usage")
        data = encoded(value) if identified(value) or usage is not outside else event.data
        if not self._note(usage, last=True):
            self._estimated = estimated(value["choices"], self._echoed or ())
            return encoded({**value, "usage": self._billed(usage, ())})
        if self._reported is not None and self._reported["output_tokens"] < len(value["choices"]):
            self._counted = sum(any(_texts(choice)) for choice in value["choices"])
        return data

    def _billed(self, usage: Json, outcomes: Sequence[Outcome]) -> JsonObject:
        """An engine's usage, if it is one, with the tokens that are billed."""
        said = usage if isinstance(usage, dict) else {}
        return {**said, **as_usage(self.usage(outcomes).units)}

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """A stream ends with [DONE], and before it usage that was asked for and not shown yet."""
        if not self._stream:
            return ()
        shown = self._unshown
        if shown is None and self._include and self._first and self._reported is None:
            shown = {**decoded(self._first), "usage": None}
        if shown is None:
            return (DONE,)
        usage = shown["usage"]
        said = reported(usage, sees=self.sees)
        if said is None or said != self._reported:
            usage = self._billed(usage, outcomes)
        last = encoded({**shown, "choices": [], "usage": usage})
        return (_event(self._styled(last)), DONE)

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The engine's own count once it said it; before that, and where it says less than it sent,
        the deltas that were relayed, or the choices of a whole reply that say something.

        It falls only by the engine's last word, and is not exact then: the engine said two things.
        """
        if self._reported is not None:
            units, read = self._reported, self._least
            wrote = self._counted if self._echoed is None else 0
            if read > units.get("input_tokens", 0) or wrote > units.get("output_tokens", 0):
                units = units.most({"input_tokens": read, "output_tokens": wrote})
                said = self._reported
                return Usage(self._with_extra(units), exact=False, by="gateway", other=said)
            whole = self._final or (len(outcomes) == 1 and outcomes[0].ok)
            return Usage(self._with_extra(units), exact=whole and not self._fell, by="engine")
        if self._estimated is not None:
            units = Units(input_tokens=self._prompt, output_tokens=self._estimated)
            return Usage(self._with_extra(units), exact=False, by="estimate")
        if self._fed and len(outcomes) == 1 and outcomes[0].ok:
            units = Units(input_tokens=self._prompt, output_tokens=self._counted)
            return Usage(self._with_extra(units), exact=False, by="estimate")
        floor = Units(output_tokens=self._counted)
        if self._fed and self._least:
            floor += Units(input_tokens=self._least)
        return Usage(self._with_extra(floor), exact=False, by="gateway")

    def counted(self, event: Event) -> Usage:
        """What the whole reply to a side call did cost; BadReply when it is none."""
        tuple(self.feed(0, event))
        return self.usage([Outcome(state="ok")])

    def _with_extra(self, units: Units) -> Units:
        return units if self._extra is None or not self._fed else units + self._extra


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _without_null(data: bytes) -> bytes:
    """A chunk without a usage that is null."""
    if data.endswith(_LAST_NULL_USAGE):  # same result without this: the common form
        return data[: -len(_LAST_NULL_USAGE)] + b"}"
    return NULL_USAGE.sub(b"", data, count=1)


def _uncounted(data: bytes) -> bytes:
    """A chunk with `"usage": null`, which a client who asked for usage finds in all but the last.

    Source: wire.md 2.1 and A1.
    """
    named = b'"usage"' in data or b'"choices"' not in data
    return data if named else data[:-1] + _LAST_NULL_USAGE


def lifted(value: JsonObject) -> JsonObject:
    """The same reply, with the usage at its place that Moonshot's API says inside a choice."""
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) and value.get("usage") is None else ():
        if isinstance(choice, dict) and (inside := choice.pop("usage", None)) is not None:
            value["usage"] = inside
    return value


def as_usage(units: Units) -> JsonObject:
    """The tokens of a bill as a reply tells them."""
    read, wrote = units.get("input_tokens", 0), units.get("output_tokens", 0)
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}


def reported(usage: Json, *, sees: bool = False) -> Units | None:
    """What an engine says that it read and wrote; None when it says nothing that is a count.

    Two zeros are no count: engines that do not count say so.  `sees`: tokens of pictures are read,
    too.
    """
    read, wrote = told(usage, "prompt_tokens"), told(usage, "completion_tokens")
    if read is None or wrote is None or read == wrote == 0:
        return None
    inside = {"input_tokens": read, "output_tokens": wrote}
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict):
        inside["cached_tokens"] = min(read, told(details, "cached_tokens") or 0)
        if sees and (pictures := _image_tokens(details)):
            inside["image_tokens"] = min(read, pictures)
    return Units(inside)


def _image_tokens(details: Mapping[str, Json]) -> int:
    """Of pictures: SGLang and OpenAI name them, vLLM has a count by modality."""
    named = told(details, "image_tokens") or told(details, "multimodal_tokens", "image")
    return named or 0


def estimated(choices: Sequence[Json], echoed: Sequence[str] = ()) -> int:
    """The tokens of the texts of a whole reply, where nobody counted them."""
    texts = (text for choice in choices for text in _texts(choice))
    return sum(estimate(_beyond(text, echoed)) for text in texts)


def _beyond(text: str, echoed: Sequence[str]) -> str:
    """A text without the longest of the prompts that it begins with."""
    said = (prompt for prompt in echoed if text.startswith(prompt))
    return text.removeprefix(max(said, key=len, default=""))


def _texts(choice: Json) -> Iterable[str]:
    """What a choice says, thinks, and calls."""
    if not isinstance(choice, Mapping):
        return
    message = choice.get("message")
    said = message if isinstance(message, Mapping) else choice
    calls = said.get("tool_calls")
    many = calls if isinstance(calls, list) else ()
    functions = [call.get("function") for call in many if isinstance(call, Mapping)]
    for place in (said, *(each for each in functions if isinstance(each, Mapping))):
        for name in ("content", "text", "refusal", "reasoning_content", "name", "arguments"):
            if isinstance(text := place.get(name), str) and text:
                yield text
