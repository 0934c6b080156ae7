"""A stream of chat or completion chunks joined into the whole reply that it stands for."""

from __future__ import annotations

from modgate.plugin import BadReply, Json, JsonObject

WHOLE = {"chat.completion.chunk": "chat.completion"}


class Joined:
    """The reply so far; `add` each chunk, then `reply`."""

    def __init__(self) -> None:
        self._head: JsonObject = {}
        self._choices: dict[int, JsonObject] = {}

    def add(self, chunk: JsonObject) -> None:
        """One chunk; BadReply when it is none."""
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise BadReply("the engine's event has no choices")
        self._head.update({name: value for name, value in chunk.items() if name != "choices"})
        for choice in choices:
            if not isinstance(choice, dict) or type(choice.get("index")) is not int:
                raise BadReply("the engine's event has a choice without an index")
            self._choice(self._choices.setdefault(choice["index"], {}), choice)

    def _choice(self, whole: JsonObject, choice: JsonObject) -> None:
        whole["index"] = choice["index"]
        if choice.get("finish_reason") is not None or "finish_reason" not in whole:
            whole["finish_reason"] = choice.get("finish_reason")
        if choice.get("stop_reason") is not None:
            whole["stop_reason"] = choice["stop_reason"]
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            _append(whole.setdefault("logprobs", {}), logprobs)
        if "delta" in choice:
            empty: JsonObject = {"role": "assistant", "content": None}
            _message(whole.setdefault("message", empty), choice["delta"])
        elif isinstance(choice.get("text"), str):
            whole["text"] = whole.get("text", "") + choice["text"]

    def reply(self) -> JsonObject:
        """The whole reply, without usage."""
        named = self._head.get("object")
        made = WHOLE.get(named, named) if isinstance(named, str) else named
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            message = choice.get("message")
            if message and message["content"] is None and "tool_calls" not in message:
                message["content"] = ""  # as the engine itself says it, where nothing is called
        return {**self._head, "object": made, "choices": choices}


def _append(whole: JsonObject, more: JsonObject) -> None:
    """Lists grow, the rest is replaced."""
    for name, value in more.items():
        old = whole.get(name)
        whole[name] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value


def _message(message: JsonObject, delta: Json) -> None:
    if not isinstance(delta, dict):
        raise BadReply("the engine's event has a delta that is no object")
    for name, value in delta.items():
        if value is None or name == "role":
            continue
        old = message.get(name)
        if name == "tool_calls":
            join_calls(message.setdefault(name, []), value)
        elif isinstance(old, str) and isinstance(value, str):
            message[name] = old + value
        else:
            message[name] = value


def join_calls(calls: list[JsonObject], deltas: Json) -> None:
    """The pieces of a chunk, put to the calls that they are of."""
    if not isinstance(deltas, list):
        raise BadReply("the engine's event has tool calls that are no list")
    for delta in deltas:
        if not isinstance(delta, dict):
            raise BadReply("the engine's event has a tool call that is no object")
        index = delta.get("index", len(calls))
        if type(index) is not int or not 0 <= index <= len(calls) + len(deltas):
            raise BadReply("the engine's event has a tool call out of order")
        while len(calls) <= index:
            calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        _call(calls[index], delta)


def _call(call: JsonObject, delta: JsonObject) -> None:
    if delta.get("id"):
        call["id"] = delta["id"]
    function = delta.get("function")
    for name, value in function.items() if isinstance(function, dict) else ():
        if name in call["function"] and isinstance(value, str):
            call["function"][name] += value
