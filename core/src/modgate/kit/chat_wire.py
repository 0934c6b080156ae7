"""Small changes to a chat reply on its bytes: a chunk is never decoded for what a search can do.

A quote inside a JSON string is always escaped, so `"name":` in the bytes of a reply is a member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal
from uuid import uuid4

import orjson

from modgate.plugin import BadReply, JsonObject

_FINISH = re.compile(rb'("finish_reason"\s*:\s*)"([^"]+)"')
_UNSAID = re.compile(rb'("finish_reason"\s*:\s*)""')  # so TGI writes null
_REASONING = re.compile(rb'(?<!\\)"reasoning"(\s*:\s*(?:"|null))')
_THOUGHT = re.compile(rb'(?<!\\)"reasoning_content"\s*:\s*("(?:[^"\\]|\\.)*+"|null)')
_CREATED = re.compile(rb'"created"\s*:\s*(\d+)')
_NAME, _OPEN, _SAID = b'"finish_reason"', b'"finish_reason":null', b'"finish_reason":"'
_NOT_SAID = _SAID + b'"'
_GIVEN_UP = re.compile(
    rb'"finish_reason"\s*:\s*'
    rb'"(?:abort|aborted|cancelled|error|timeout|insufficient_system_resource)"'
)
# Source: wire.md 2.1; what engines say for an end of their own: Mistral's API for a full context,
# vLLM for a text that goes round in circles.
FINISHES = {
    b"end_turn": b"stop",
    b"eos": b"stop",
    b"eos_token": b"stop",
    b"stop_str": b"stop",
    b"stop_sequence": b"stop",
    b"max_tokens": b"length",
    b"model_length": b"length",
    b"repetition": b"length",
    b"tool_use": b"tool_calls",
}
CALLS_AT_MOST = 1024  # of a reply, that are told apart
WORDS = frozenset((*FINISHES.values(), b"content_filter"))


def has_finished(data: bytes) -> bool:
    """Whether a choice has finished."""
    # The same result without these two: what is spelled as usual needs no pattern.
    if _SAID in data and _NOT_SAID not in data:
        return True
    return data.count(_NAME) != data.count(_OPEN) and _FINISH.search(data) is not None


def given_up(data: bytes) -> bool:
    """Whether an engine left a choice unfinished that nobody asked it to leave.

    It says so with a good status and a good end: vLLM and SGLang when they drain, scale down or are
    told to abort, TensorRT-LLM when its own time is over, DeepSeek where it has no room.
    Source: vllm-project/vllm issue 57082; sgl-project/sglang pull request 22535.
    """
    return _GIVEN_UP.search(data) is not None


def finished(data: bytes) -> bytes:
    """The reply with its finish in the words of the wire."""
    at = data.find(_NAME)
    if data.startswith(_SAID, at) and data.find(_NAME, at + 1) < 0:
        told = data[at + len(_SAID) : data.find(b'"', at + len(_SAID))]
        if told in WORDS:
            return data  # the same result without this: one choice, in the wire's own words
    if b'""' in data:
        data = _UNSAID.sub(rb"\1null", data)
    return _FINISH.sub(_finish, data) if has_finished(data) else data


def _finish(found: re.Match[bytes]) -> bytes:
    return found[1] + b'"' + FINISHES.get(found[2], found[2]) + b'"'


def one_reasoning(data: bytes) -> bytes:
    """Reasoning under the home wire's name, `reasoning_content`; called where `"reasoning"` is."""
    if b'"reasoning_content"' in data:
        return data  # the engine says both
    return _REASONING.sub(rb'"reasoning_content"\1', data)


def aliased(data: bytes, alias: str) -> bytes:
    """Reasoning under the names that the operator wants: `both`, or only `reasoning`."""
    if b'"reasoning":' in data:
        return data
    if alias == "reasoning":
        return data.replace(b'"reasoning_content":', b'"reasoning":')
    return _THOUGHT.sub(rb'"reasoning_content":\1,"reasoning":\1', data)


class Extra:
    """Members of an engine's own that a client of another wire would trip over.

    They are taken out of the reply, its choices, and what these say.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        any_of = b"|".join(re.escape(name).encode() for name in names)
        self._marks = re.compile(rb'"(?:%s)"\s*:' % any_of)
        self._nulls = re.compile(rb',"(?:%s)":null|"(?:%s)":null,' % (any_of, any_of))

    def without(self, data: bytes) -> bytes:
        """The reply without them."""
        if self._marks.search(data) is None:
            return data
        bare = self._nulls.sub(b"", data)
        if self._marks.search(bare) is None:
            return bare
        value = decoded(bare)
        for place in (value, *_choices(value)):
            for name in self.names:
                place.pop(name, None)
        return encoded(value)


class Created:
    """When a reply was created: an engine's clock goes on while it streams, a reply's does not.

    `at`: seconds of the epoch; None until a chunk has told.
    """

    def __init__(self) -> None:
        self.at: int | None = None
        self._told = b""

    def same(self, data: bytes) -> bytes:
        """A chunk with the first chunk's time."""
        if self.at is None:
            if (found := _CREATED.search(data)) is None:
                return data
            self.at = int(found[1])
            self._told = b'"created":%d' % self.at
        return _CREATED.sub(self._told, data, count=1)


class CallIds:
    """Says once which call the pieces of a stream are of: clients append what comes again.

    A call that its engine gave no id gets one: nobody could answer it.  A name that is not the one
    said before goes on with it: Gemini's API cuts names, too.
    Source: wire.md 2.1; openai-python, lib/streaming/_deltas.py, `accumulate_delta`;
    continuedev/continue pull request 5849.
    """

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int, str], JsonObject] = {}  # what each call said of itself

    def once(self, data: bytes) -> bytes:
        """A chunk without what was said of its calls before."""
        rest = data.partition(b'"tool_calls"')[2]
        if b'"id"' not in rest and b'"name"' not in rest:
            return data  # without being decoded: no call is named here
        value = decoded(data)
        return encoded(value) if self.once_in(value) else data

    def once_in(self, value: JsonObject) -> bool:
        """The same in a chunk that is decoded; whether it is changed."""
        changed = [self._is_changed(choice, call) for choice, call in _calls(value, "delta")]
        return any(changed)

    def _is_changed(self, choice: int, call: JsonObject) -> bool:
        index, known, function = call.get("index"), call.get("id"), call.get("function")
        named = function if isinstance(function, dict) else {}
        if type(index) is not int:
            return False
        here, known = self._of(choice, index, ""), known if type(known) is str else ""
        begins = not (here or known)
        if begins:
            if not named.get("name"):
                return False
            here["ours"] = new_call_id()
        elif known and "ours" not in here:
            here["id"] = known
        if begins or (known and "ours" in here):
            call["id"] = here["ours"]
        said = self._of(choice, index, here.get("ours") or here["id"])
        again = [_is_again(said, *of) for of in ((call, "id"), (call, "type"), (named, "name"))]
        return begins or any(again)

    def _of(self, choice: int, index: int, known: str) -> JsonObject:
        """What was said of a call; of one beyond the bound nothing is remembered.

        `known`: its id, or '' for whichever is at this place.
        """
        key = (choice, index, known)
        if key not in self._begun and len(self._begun) >= 2 * CALLS_AT_MOST:
            return {}
        return self._begun.setdefault(key, {})


def _is_again(said: JsonObject, place: JsonObject, name: str) -> bool:
    """Whether a member was said before, which takes it out; else it is noted."""
    text = place.get(name)
    if text and said.get(name) == text:
        del place[name]
        return True
    if text:
        said[name] = text
    return False


def new_call_id() -> str:
    """An id for a call that its engine gave none."""
    return f"call_{uuid4().hex}"


def identified(value: JsonObject) -> bool:
    """Give each call of a whole reply an id that has none; whether there was any."""
    nameless = [call for _, call in _calls(value, "message") if not call.get("id")]
    for call in nameless:
        call["id"] = new_call_id()
    return bool(nameless)


def _calls(
    value: JsonObject, where: Literal["delta", "message"]
) -> Iterator[tuple[int, JsonObject]]:
    """The calls of a reply, or the pieces of calls in a chunk, each with its choice's number."""
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        said = choice.get(where) if isinstance(choice, dict) else None
        calls = said.get("tool_calls") if isinstance(said, dict) else None
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and type(number := choice.get("index")) is int:
                yield number, call


def _choices(value: JsonObject) -> Sequence[JsonObject]:
    choices = value.get("choices")
    if not isinstance(choices, list):
        return ()
    found = [choice for choice in choices if isinstance(choice, dict)]
    said = [choice.get(name) for choice in found for name in ("message", "delta")]
    return [*found, *(each for each in said if isinstance(each, dict))]


def encoded(value: JsonObject) -> bytes:
    """A reply that was changed; BadReply when an engine nested it deeper than is written (254)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise BadReply("the engine's reply is nested too deeply") from None


def decoded(data: bytes) -> JsonObject:
    """A reply as an object; BadReply when it is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadReply("the engine's event is not valid JSON") from None
    if not isinstance(value, dict):
        raise BadReply("the engine's event is not a JSON object")
    return value
