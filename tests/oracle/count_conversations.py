"""Counting a message, a response or Cohere's chat: the same tokens as a chat's, in other words."""

from __future__ import annotations

from oracle.count_events import Events, Tokens
from oracle.requests import ClientRequest
from oracle.words import items, members, whole

_TEXTS = ("content_block_delta", "response.output_text.delta", "content-delta")
_ENDS = ("message_stop", "response.completed", "response.incomplete", "message-end")


class ConversationEvents(Events):
    """`/v1/messages`, `/v1/responses` or `/v2/chat` as events with names."""

    def __init__(self, request: ClientRequest) -> None:
        super().__init__(request)
        self._tokens = Tokens(self.notes)
        self._ends = False
        self._number = 0

    def take(self, value: dict[str, object]) -> None:
        kind = value.get("type")
        if kind in _TEXTS:
            text = value.get("delta")
            text = text if isinstance(text, str) else _text(members(text))
            if isinstance(text, str) and text:
                self._tokens.feed(0, text)
                self.events += 1
        elif kind in ("error", "response.failed"):
            self.error = str(value.get("code", "failed"))
        elif members(value.get("delta")).get("finish_reason") == "ERROR":
            self.error = "failed"
        usage = used(value)
        if kind in (*_ENDS, "message_delta") and usage:
            self._take_usage(usage)
        self._ends = self._ends or (kind in _ENDS and self.error is None)
        self._numbered(value)
        self.units[f"{self._request.modality}.output_tokens"] = self._tokens.count

    def _take_usage(self, usage: dict[str, object]) -> None:
        said = whole(usage.get("output_tokens"))
        if said != self._tokens.count:
            self.notes.append(f"usage says {said} tokens, {self._tokens.count} came")
        self.units[f"{self._request.modality}.input_tokens"] = prompt_tokens(usage)

    def _numbered(self, value: dict[str, object]) -> None:
        """The events of a response are numbered from 0."""
        if self._request.reader != "response_sse":
            return
        if value.get("sequence_number") != self._number:
            self.notes.append(f"event {self._number} says {value.get('sequence_number')}")
        self._number += 1

    def end(self) -> None:
        super().end()
        self.finished = self._ends
        if self.finished and self.error is None:
            self.units.update(self._request.sent)


def _text(delta: dict[str, object]) -> object:
    """What a delta of a message says; Cohere's has it three levels down."""
    return delta.get("text") or members(members(delta.get("message")).get("content")).get("text")


def used(value: dict[str, object]) -> dict[str, object]:
    """The usage of a whole reply or an event, wherever it has it; Cohere's says what was billed."""
    for holder in (value, members(value.get("response")), members(value.get("delta"))):
        if usage := members(holder.get("usage")):
            return members(usage.get("billed_units")) or usage
    return {}


def prompt_tokens(usage: dict[str, object]) -> int:
    """All of the prompt: a message counts what was cached beside the rest."""
    return whole(usage.get("input_tokens")) + whole(usage.get("cache_read_input_tokens"))


def said(value: dict[str, object]) -> str:
    """The text of a whole message, response or chat of Cohere's."""
    message = members(value.get("message")) or value
    blocks = [members(each) for each in items(message.get("content"))]
    for item in map(members, items(value.get("output"))):
        blocks += [members(part) for part in items(item.get("content"))]
    return "".join(str(block.get("text", "")) for block in blocks)
