"""The engine's reply in the home wire."""

from __future__ import annotations

from typing import Annotated

import msgspec

from modgate.plugin import BadReply

Whole = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Row(msgspec.Struct):
    """One vector.

    Its numbers stay the engine's own bytes unless they must be changed.
    """

    index: Whole
    embedding: msgspec.Raw


class Counted(msgspec.Struct, omit_defaults=True):
    """The engine's count.

    `by_input`: an extension of the home wire, tokens of each input in order, which lets a shared
    call be billed exactly.  `apportioned`: written by `split` where it had to estimate.
    """

    prompt_tokens: Whole | None = None
    total_tokens: Whole | None = None
    by_input: list[Whole] | None = None
    apportioned: bool = False

    @property
    def tokens(self) -> int | None:
        """What the engine read; an explicit 0 stays 0."""
        return self.prompt_tokens if self.prompt_tokens is not None else self.total_tokens


class Reply(msgspec.Struct):
    """A whole reply."""

    data: list[Row]
    usage: Counted | None = None


_REPLY = msgspec.json.Decoder(Reply)
_NUMBERS = msgspec.json.Decoder(list[float])


def parse(data: bytes, count: int) -> Reply:
    """A reply with exactly `count` vectors, sorted by index; BadReply when it is another thing."""
    try:
        reply = _REPLY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's reply is not a list of embeddings") from None
    reply.data.sort(key=lambda row: row.index)
    if [row.index for row in reply.data] != list(range(count)):
        raise BadReply(f"the engine did not answer each of {count} inputs once")
    return reply


def numbers(row: Row) -> list[float]:
    """A vector's numbers; BadReply when they are none."""
    try:
        found = _NUMBERS.decode(row.embedding)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's embedding is not a list of numbers") from None
    if not found:
        raise BadReply("the engine's embedding is empty")
    return found
