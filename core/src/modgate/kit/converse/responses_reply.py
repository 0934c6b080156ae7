"""OpenAI's Responses API: a chat's reply as its items and events.

The order of events is load-bearing: the SDK indexes items and parts as they were added.
Source: wire.md 2.4, 1.7 and A5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from modgate.kit.converse.blocks import Block, Step
from modgate.kit.converse.relay import Ended, Reply
from modgate.plugin import GatewayError, JsonObject, Relay, Request

PREFIXES = {"thought": "rs", "text": "msg", "refusal": "msg", "call": "fc"}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# Of each kind: its part, that part's member, and the events of its deltas.
PARTS = {
    "text": ("output_text", "text", "response.output_text"),
    "refusal": ("refusal", "refusal", "response.refusal"),
    "thought": ("reasoning_text", "text", "response.reasoning_text"),
}


# Codes of ours that a failed response may have; any other is one of three, by who is at fault.
# Source: openai-python, types/responses/response_error.py; the two of Codex, which tells its user
# of them and tries again after all others: openai/codex, codex-rs/codex-api/src/sse/responses.rs
CODES = frozenset(
    (
        *("rate_limit_exceeded", "image_too_large", "invalid_image_format", "invalid_image_url"),
        *("context_length_exceeded", "insufficient_quota"),
    )
)


class ResponsesReply(Reply):
    """One response; its id, those of its items, and when it was created are the request's."""

    def __init__(self, request: Request) -> None:
        self._asked = request.asked
        self._body = request.parsed
        self._hex = request.id.removeprefix("req_")
        self._sequence = 0
        self._created = UUID(hex=self._hex).int // (1000 << 80)  # version 7 begins with the time
        self._items: list[JsonObject] = []
        self._open: Block | None = None

    def begin(self, first: JsonObject) -> Iterator[bytes]:
        """Created, and in progress."""
        del first
        response = self._response("in_progress")
        yield self._event("response.created", response=response)
        yield self._event("response.in_progress", response=response)

    def step(self, step: Step) -> Iterator[bytes]:
        """An item grows; one that closes before the end is complete."""
        match step.what:
            case "open":
                if self._open is not None:
                    yield from self._closed(self._open, "completed")
                self._open = step.block
                yield from self._opened(step.block)
            case "more":
                yield self._grown(step.block, step.text)
            case "close":
                pass  # by the next one, or by `end`, which knows whether the last is complete

    def end(self, ended: Ended) -> Iterator[bytes]:
        """The last item, and the whole response."""
        status = "incomplete" if ended.finish_reason in INCOMPLETE else "completed"
        if self._open is not None:
            yield from self._closed(self._open, status)
        response = self._response(status, self._items, ended)
        yield self._event(f"response.{status}", response=response)

    def whole(self, ended: Ended, blocks: Sequence[Block], first: JsonObject) -> JsonObject:
        """The response of a reply that was not streamed."""
        del first
        status = "incomplete" if ended.finish_reason in INCOMPLETE else "completed"
        items = [self._item(block, "completed") for block in blocks[:-1]]
        items += [self._item(block, status) for block in blocks[-1:]]
        return self._response(status, items, ended)

    def failed(self, ended: Ended, error: GatewayError) -> Iterable[bytes]:
        """The response as far as it came, and the error.

        OpenAI writes down the members of `error` beside `type` and sends them in an object, which
        its SDKs raise on; who reads neither event would take half a text for a whole one.
        Source: openai-dotnet issue 881.
        """
        del ended
        told = {"code": _code(error), "message": error.message}
        flat = {"code": error.code, "message": error.message, "param": None}
        if self._sequence == 0:
            yield from self.begin({})
        yield self._event(
            "response.failed", response={**self._response("failed", self._items), "error": told}
        )
        yield self._event("error", **flat, error={"type": error.kind, **flat})

    def _event(self, kind: str, **members: object) -> bytes:
        number = self._sequence
        self._sequence += 1
        return Relay.sse({"type": kind, "sequence_number": number, **members}, kind)

    def _place(self, block: Block) -> JsonObject:
        return {"item_id": self._id(block), "output_index": block.index}

    def _id(self, block: Block) -> str:
        return f"{PREFIXES[block.kind]}_{self._hex}{block.index:02x}"

    def _opened(self, block: Block) -> Iterator[bytes]:
        item = self._item(block, "in_progress")
        yield self._event("response.output_item.added", output_index=block.index, item=item)
        if block.kind != "call":
            yield self._event(
                "response.content_part.added",
                **self._place(block),
                content_index=0,
                part=_part(block.kind, ""),
            )

    def _grown(self, block: Block, text: str) -> bytes:
        if block.kind == "call":
            kind = "response.function_call_arguments.delta"
            return self._event(kind, **self._place(block), delta=text)
        front = PARTS[block.kind][2]
        more: JsonObject = {"logprobs": []} if block.kind == "text" else {}
        return self._event(
            f"{front}.delta", **self._place(block), content_index=0, delta=text, **more
        )

    def _closed(self, block: Block, status: str) -> Iterator[bytes]:
        place, item = self._place(block), self._item(block, status)
        if block.kind == "call":
            yield self._event(
                "response.function_call_arguments.done",
                **place,
                arguments=block.text,
                name=block.name,
            )
        else:
            _, member, front = PARTS[block.kind]
            more: JsonObject = {"logprobs": []} if block.kind == "text" else {}
            place["content_index"] = 0
            yield self._event(f"{front}.done", **place, **{member: block.text}, **more)
            part = _part(block.kind, block.text)
            yield self._event("response.content_part.done", **place, part=part)
        self._items.append(item)
        yield self._event("response.output_item.done", output_index=block.index, item=item)

    def _item(self, block: Block, status: str) -> JsonObject:
        item: JsonObject = {"id": self._id(block)}
        new = status == "in_progress"
        content = [] if new else [_part(block.kind, block.text)] if block.kind != "call" else []
        if block.kind == "call":
            item |= {"type": "function_call", "status": status, "call_id": block.call_id}
            item |= {"name": block.name, "arguments": "" if new else block.text}
        elif block.kind == "thought":
            item |= {"type": "reasoning", "status": status, "summary": [], "content": content}
        else:
            item |= {"type": "message", "role": "assistant", "status": status, "content": content}
        return item

    def _response(
        self, status: str, items: Sequence[JsonObject] = (), ended: Ended | None = None
    ) -> JsonObject:
        body = self._body
        why = INCOMPLETE.get(ended.finish_reason) if ended is not None else None
        reasoning = body.get("reasoning") or {}
        return {
            "id": f"resp_{self._hex}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None if why is None else {"reason": why},
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": self._asked,
            "output": list(items),
            "parallel_tool_calls": _given(body.get("parallel_tool_calls"), True),
            "previous_response_id": None,
            "reasoning": {"effort": reasoning.get("effort"), "summary": None},
            "store": False,
            "temperature": _given(body.get("temperature"), 1.0),
            "text": {"format": {"type": "text"}, **(body.get("text") or {})},
            "tool_choice": _given(body.get("tool_choice"), "auto"),
            "tools": body.get("tools") or [],
            "top_p": _given(body.get("top_p"), 1.0),
            "truncation": "disabled",
            "usage": None if ended is None else _usage(ended),
            "user": body.get("user"),
            "metadata": body.get("metadata") or {},
        }


def _code(error: GatewayError) -> str:
    if error.code in CODES:
        return error.code
    if error.status == 429:
        return "rate_limit_exceeded"
    return "invalid_prompt" if error.status < 500 else "server_error"


def _part(kind: str, text: str) -> JsonObject:
    name, member, _ = PARTS[kind]
    more: JsonObject = {"annotations": [], "logprobs": []} if kind == "text" else {}
    return {"type": name, member: text, **more}


def _usage(ended: Ended) -> JsonObject:
    cached = {"cached_tokens": ended.cached_tokens, "cache_write_tokens": 0}
    return {
        "input_tokens": ended.input_tokens,
        "input_tokens_details": cached,
        "output_tokens": ended.output_tokens,
        "output_tokens_details": {"reasoning_tokens": ended.reasoning_tokens},
        "total_tokens": ended.input_tokens + ended.output_tokens,
    }


def _given(value: object, default: object) -> object:
    return default if value is None else value
