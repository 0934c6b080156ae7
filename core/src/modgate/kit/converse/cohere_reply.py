"""Cohere's chat, `POST /v2/chat`: a chat's reply as its message and events.

Contents and calls are counted apart: an index is that of a list of the message.  An event has its
type as its name, too, and `[DONE]` comes last.  Source: cohere 7.3, `V2ChatResponse` and
`V2ChatStreamResponse`; for what they leave open, the streams of command-a-vision-07-2025 that
langchain-cohere's tests have recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from modgate.kit.chat_relay import DONE
from modgate.kit.converse.blocks import Block, Step
from modgate.kit.converse.relay import Ended, Reply
from modgate.plugin import GatewayError, Json, JsonObject, Relay, Request

FINISHES = {"length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR"}


class CohereReply(Reply):
    """One reply; its id is made of the request's.

    What is said before a call is its plan, where it is known in time: in a whole reply, and where a
    call is forced, come it or not.  In other streams it is text, for there may be no call.
    """

    def __init__(self, request: Request) -> None:
        self._id = str(UUID(hex=request.id.removeprefix("req_")))
        self._stops = request.parsed.get("stop_sequences") or ()
        self._forced = request.parsed.get("tool_choice") == "REQUIRED"
        self._index = 0
        self._lists: list[str] = []

    def begin(self, first: JsonObject) -> Iterator[bytes]:
        """The message starts, empty."""
        empty = {"content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        yield _event("message-start", {"role": "assistant", **empty}, id=self._id)

    def step(self, step: Step) -> Iterator[bytes]:
        """A content or a call starts, grows, ends; a plan only grows."""
        block = step.block
        if block.kind == "text" and self._forced:
            if step.what == "more":
                yield _event("tool-plan-delta", {"tool_plan": step.text})
            return
        kind = "tool-call" if block.kind == "call" else "content"
        match step.what:
            case "open":
                self._index = self._lists.count(kind)
                self._lists.append(kind)
                yield _event(f"{kind}-start", _inside(block, _part(block, "")), index=self._index)
            case "more":
                yield _event(f"{kind}-delta", _inside(block, _more(step)), index=self._index)
            case "close":
                yield _event(f"{kind}-end", None, index=self._index)

    def end(self, ended: Ended) -> Iterator[bytes]:
        """Why it stopped, and what it did cost."""
        finish = self._finish(ended, called="tool-call" in self._lists)
        delta = {"finish_reason": finish, "usage": _usage(ended)}
        yield from _last(delta)

    def failed(self, ended: Ended, error: GatewayError) -> Iterator[bytes]:
        """The end of a stream that failed; what came is billed, and clients add it up."""
        delta = {"error": error.message, "finish_reason": "ERROR", "usage": _usage(ended)}
        yield from _last(delta)

    def whole(self, ended: Ended, blocks: Sequence[Block], first: JsonObject) -> JsonObject:
        """A reply that was not streamed."""
        calls = [_part(block, block.text) for block in blocks if block.kind == "call"]
        planned = calls or self._forced
        plan = "".join(block.text for block in blocks if block.kind == "text") if planned else ""
        unsaid = ("call", "text") if calls or plan else ("call",)
        content = [_part(block, block.text) for block in blocks if block.kind not in unsaid]
        said = {"content": content, "tool_plan": plan, "tool_calls": calls}
        message = {"role": "assistant", **{name: value for name, value in said.items() if value}}
        return {
            "id": self._id,
            "message": message,
            "finish_reason": self._finish(ended, called=bool(calls)),
            "usage": _usage(ended),
        }

    def _finish(self, ended: Ended, *, called: bool) -> str:
        if ended.finish_reason == "stop" and ended.stopped_by in self._stops:
            return "STOP_SEQUENCE"
        if ended.finish_reason == "stop" and called:
            return "TOOL_CALL"  # engines end a call that was forced with `stop`
        return FINISHES.get(ended.finish_reason, "COMPLETE")


def _event(kind: str, message: JsonObject | None, **members: Json) -> bytes:
    delta = {} if message is None else {"delta": {"message": message}}
    return Relay.sse({"type": kind, **members, **delta}, kind)


def _last(delta: JsonObject) -> Iterator[bytes]:
    yield Relay.sse({"type": "message-end", "delta": delta}, "message-end")
    yield DONE


def _inside(block: Block, part: JsonObject) -> JsonObject:
    return {"tool_calls" if block.kind == "call" else "content": part}


def _part(block: Block, text: str) -> JsonObject:
    if block.kind == "call":
        function = {"name": block.name, "arguments": text}
        return {"id": block.call_id, "type": "function", "function": function}
    name = _name(block)
    return {"type": name, name: text}


def _more(step: Step) -> JsonObject:
    if step.block.kind == "call":
        return {"function": {"arguments": step.text}}
    return {_name(step.block): step.text}


def _name(block: Block) -> str:
    return "thinking" if block.kind == "thought" else "text"


def _usage(ended: Ended) -> JsonObject:
    """All tokens are billed; those that were cached are told beside them."""
    tokens = {"input_tokens": ended.input_tokens, "output_tokens": ended.output_tokens}
    return {"billed_units": tokens, "tokens": tokens, "cached_tokens": ended.cached_tokens}
