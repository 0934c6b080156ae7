"""The engine's reply in the home wire."""

from __future__ import annotations

from typing import Annotated

import msgspec

from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import BadReply

Whole = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_AT_MOST)]


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
        """What the engine read.

        0 is no count, for no input is empty: LM Studio says it of every reply.  A share may be 0.
        """
        return self.prompt_tokens or self.total_tokens or (0 if self.apportioned else None)


class Reply(msgspec.Struct):
    """A whole reply."""

    data: list[Row]
    usage: Counted | None = None


class _Read(msgspec.Struct):
    data: list[Row]
    usage: msgspec.Raw = msgspec.Raw(b"null")


_READ = msgspec.json.Decoder(_Read)
_COUNTED = msgspec.json.Decoder(Counted | None)
_NUMBERS = msgspec.json.Decoder(list[float])


def parse(data: bytes, count: int) -> Reply:
    """A reply with exactly `count` vectors, sorted by index; BadReply when it is another thing."""
    try:
        read = _READ.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's reply is not a list of embeddings") from None
    read.data.sort(key=lambda row: row.index)
    if [row.index for row in read.data] != list(range(count)):
        raise BadReply(f"the engine did not answer each of {count} inputs once")
    return Reply(data=read.data, usage=_counted(read.usage))


def told(data: bytes) -> Counted:
    """What a reply says was read; BadReply for no reply."""
    try:
        return _counted(_READ.decode(data).usage) or Counted()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's reply is not a list of embeddings") from None


def _counted(usage: msgspec.Raw) -> Counted | None:
    """None for what is no count: a reply is not bad because its engine cannot count."""
    try:
        counted: Counted | None = _COUNTED.decode(usage)
    except msgspec.MsgspecError:
        return None
    return counted


def numbers(row: Row) -> list[float]:
    """A vector's numbers; BadReply when they are none."""
    try:
        found = _NUMBERS.decode(row.embedding)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's embedding is not a list of numbers") from None
    if not found:
        raise BadReply("the engine's embedding is empty")
    return found
