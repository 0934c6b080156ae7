"""Anthropic's Messages API: a chat's reply as its blocks and events.

One block is open at a time, and every event has a name.  Source: wire.md 2.5 and A4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modgate.kit.converse.blocks import Block, Step, arguments
from modgate.kit.converse.relay import Ended, Reply
from modgate.plugin import Json, JsonObject, Relay, Request

# The prompt goes as it came: none of the edits of Claude Code, which sends some with each, is made.
UNEDITED: JsonObject = {"context_management": {"applied_edits": []}}
STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessagesReply(Reply):
    """One message; its id is made of the request's."""

    def __init__(self, request: Request) -> None:
        self._asked = request.asked
        self._stops = request.parsed.get("stop_sequences") or ()
        self._id = "msg_" + request.id.removeprefix("req_")
        self._told: int | None = None
        self._kinds: set[str] = set()
        self._edits = UNEDITED if request.parsed.get("context_management") else {}

    def begin(self, first: JsonObject) -> Iterator[bytes]:
        """The message starts; of the prompt's tokens as much as the engine said by now."""
        usage = first.get("usage")
        told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        self._told = told if type(told) is int and told > 0 else None
        counts: JsonObject = {"input_tokens": self._told or 0, "output_tokens": 0}
        yield _event("message_start", message=self._message([], None, None, counts))
        yield _event("ping")

    def step(self, step: Step) -> Iterator[bytes]:
        """A block opens, grows, closes."""
        index = step.block.index
        match step.what:
            case "open":
                self._kinds.add(step.block.kind)
                yield _event("content_block_start", index=index, content_block=_empty(step.block))
            case "more":
                yield _event("content_block_delta", index=index, delta=_delta(step))
            case "close":
                yield _event("content_block_stop", index=index)

    def end(self, ended: Ended) -> Iterator[bytes]:
        """Why it stopped, and what it did cost; the prompt's tokens where they were not told."""
        reason, sequence = self._stopped(ended)
        usage = _usage(ended)
        if ended.cached_tokens == 0 and self._told == ended.input_tokens:
            usage = {"output_tokens": ended.output_tokens}
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        yield _event("message_delta", delta=delta, usage=usage, **self._edits)
        yield _event("message_stop")

    def whole(self, ended: Ended, blocks: Sequence[Block], first: JsonObject) -> JsonObject:
        """The message of a reply that was not streamed."""
        self._kinds = {block.kind for block in blocks}
        reason, sequence = self._stopped(ended)
        content = [_full(block) for block in blocks]
        return {**self._message(content, reason, sequence, _usage(ended)), **self._edits}

    def _message(
        self, content: list[JsonObject], reason: str | None, stop: str | None, usage: JsonObject
    ) -> JsonObject:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._asked,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": stop,
            "usage": usage,
        }

    def _stopped(self, ended: Ended) -> tuple[str, str | None]:
        if "refusal" in self._kinds:
            return "refusal", None
        if ended.finish_reason == "stop" and ended.stopped_by in self._stops:
            return "stop_sequence", ended.stopped_by
        if ended.finish_reason == "stop" and "call" in self._kinds:
            return "tool_use", None  # engines end a call that was forced with `stop`
        return STOPS.get(ended.finish_reason, "end_turn"), None


def _event(kind: str, **members: Json) -> bytes:
    return Relay.sse({"type": kind, **members}, kind)


def _empty(block: Block) -> JsonObject:
    if block.kind == "call":
        return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}
    if block.kind == "thought":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _delta(step: Step) -> JsonObject:
    if step.block.kind == "call":
        return {"type": "input_json_delta", "partial_json": step.text}
    if step.block.kind == "thought":
        return {"type": "thinking_delta", "thinking": step.text}
    return {"type": "text_delta", "text": step.text}


def _full(block: Block) -> JsonObject:
    made = _empty(block)
    if block.kind == "call":
        return {**made, "input": arguments(block.text)}
    return {**made, ("thinking" if block.kind == "thought" else "text"): block.text}


def _usage(ended: Ended) -> JsonObject:
    """Anthropic counts cached tokens beside the others, not among them."""
    return {
        "input_tokens": ended.input_tokens - ended.cached_tokens,
        "output_tokens": ended.output_tokens,
        "cache_read_input_tokens": ended.cached_tokens,
        "cache_creation_input_tokens": 0,
    }
