"""A chat's relay behind the words of another API.

The chat's own relay meters, so the bill is that of the same chat at any cut; what it would have
sent is not looked at.  Instead each event of the home wire is read into steps of blocks, which the
API's `Reply` writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modgate.kit.converse.blocks import Block, Blocks, Step
from modgate.plugin import (
    Event,
    Fields,
    GatewayError,
    Json,
    JsonObject,
    Outcome,
    Relay,
    Units,
    UpstreamFailed,
    Usage,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a reply ended, in the chat's words, and what it did cost."""

    finish_reason: str = "stop"
    stopped_by: str | None = None
    used: Units
    reasoning_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt, cached ones among them."""
        return self.used.get("input_tokens", 0)

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the engine had cached."""
        return self.used.get("cached_tokens", 0)

    @property
    def output_tokens(self) -> int:
        """Tokens that were written."""
        return self.used.get("output_tokens", 0)


class Reply(ABC):
    """One reply in the words of another API.  Of a stream `begin` comes first, `end` last."""

    def begin(self, first: JsonObject) -> Iterable[bytes]:
        """The stream opens; `first` is the chat's first chunk."""
        del first
        return ()

    @abstractmethod
    def step(self, step: Step) -> Iterable[bytes]:
        """What happened to a block, as events."""

    @abstractmethod
    def end(self, ended: Ended) -> Iterable[bytes]:
        """The last events."""

    @abstractmethod
    def whole(self, ended: Ended, blocks: Sequence[Block], first: JsonObject) -> JsonObject:
        """A reply that was not streamed."""

    def failed(self, ended: Ended, error: GatewayError) -> Iterable[bytes] | None:
        """What a stream says that cannot end well; None = the surface's error event.

        `ended`: what came until then, and what that did cost.
        """
        del ended, error
        return None


class Conversed(Relay):
    """One conversation."""

    def __init__(self, chat: Relay, reply: Reply) -> None:
        self.head = chat.head
        self._chat = chat
        self._reply = reply
        self._stream = chat.head.kind == "sse"
        self._blocks = Blocks()
        self._first: JsonObject | None = None
        self._reasoning_tokens = 0

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One event of the chat, metered by its own relay."""
        for _ in self._chat.feed(index, event):
            pass  # the chat's own words are not sent
        reply = event.fields()
        if self._stream and (step := self._blocks.more(reply.values)) is not None:
            return self._reply.step(step)
        said: list[bytes] = []
        if self._first is None:
            self._first = reply.values
            if self._stream:
                said += self._reply.begin(self._first)
        said += self._told(self._blocks.read(reply))
        if self._blocks.finish_reason == "error":
            raise UpstreamFailed("the engine gave up in the middle of its reply")
        self._reasoning_tokens = max(self._reasoning_tokens, _reasoning(reply))
        return said

    def _told(self, steps: Iterator[Step]) -> Iterator[bytes]:
        for step in steps:
            if self._stream:
                yield from self._reply.step(step)

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """The end of the last block, and of the reply."""
        for _ in self._chat.close(outcomes):
            pass
        first, blocks = self._first or {}, self._blocks
        if self._stream and self._first is None:
            yield from self._reply.begin(first)
        yield from self._told(blocks.finish())
        ended = self._ended(outcomes)
        if self._stream:
            yield from self._reply.end(ended)
        else:
            yield self.json(self._reply.whole(ended, blocks.blocks, first))

    def fail(self, error: GatewayError) -> Iterable[bytes] | None:
        """The API's own end of a stream that failed."""
        return self._reply.failed(self._ended(()), error) if self._stream else None

    def _ended(self, outcomes: Sequence[Outcome]) -> Ended:
        return Ended(
            finish_reason=self._blocks.finish_reason,
            stopped_by=self._blocks.stopped_by,
            used=self.usage(outcomes).units,
            reasoning_tokens=self._reasoning_tokens,
        )

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The chat's."""
        return self._chat.usage(outcomes)


class Answer(Relay):
    """A reply that needs no engine, and costs nothing."""

    def __init__(self, value: Json) -> None:
        self._value = value

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """There is no call."""
        raise AssertionError("an answer without calls is fed nothing")

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """The answer."""
        yield self.json(self._value)

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Nothing."""
        return Usage(Units())


def _reasoning(reply: Fields) -> int:
    usage = reply.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return count if type(count) is int and count > 0 else 0
