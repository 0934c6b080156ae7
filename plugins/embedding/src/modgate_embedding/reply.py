"""Reading an engine's reply in the home wire."""

from __future__ import annotations

from typing import Annotated

import msgspec

from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import BadReply

Whole = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_AT_MOST)]


class Row(msgspec.Struct):
    """One vector.  Its numbers stay as the engine wrote them, unless they must be changed."""

    index: Whole
    embedding: msgspec.Raw


class Counted(msgspec.Struct, omit_defaults=True):
    """The engine's count of tokens.

    Two members extend the home wire.  `by_input`: the tokens of each input, in order, by which
    joined calls are billed exactly.  `apportioned`: the count is a share of one for several
    requests, which `split` had to estimate.
    """

    prompt_tokens: Whole | None = None
    total_tokens: Whole | None = None
    by_input: list[Whole] | None = None
    apportioned: bool = False

    @property
    def tokens(self) -> int | None:
        """How many tokens the engine read; None when it does not say.

        0 does not count, because no input is empty, and LM Studio says 0 in every reply.  Only a
        share can be 0.
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
    """A reply of exactly `count` vectors, sorted by index.  BadReply for anything else."""
    try:
        read = _READ.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's reply is not a list of embeddings") from None
    read.data.sort(key=lambda row: row.index)
    if [row.index for row in read.data] != list(range(count)):
        raise BadReply(f"the engine did not answer each of {count} inputs once")
    return Reply(data=read.data, usage=_counted(read.usage))


def engine_count(data: bytes) -> Counted:
    """The engine's count in a reply.  BadReply when it is no reply."""
    try:
        return _counted(_READ.decode(data).usage) or Counted()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's reply is not a list of embeddings") from None


def _counted(usage: msgspec.Raw) -> Counted | None:
    """The count; None for what is none.  A reply is not bad because its engine cannot count."""
    try:
        counted: Counted | None = _COUNTED.decode(usage)
    except msgspec.MsgspecError:
        return None
    return counted


def numbers(row: Row) -> list[float]:
    """The numbers of a vector.  BadReply when they are none."""
    try:
        found = _NUMBERS.decode(row.embedding)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's embedding is not a list of numbers") from None
    if not found:
        raise BadReply("the engine's embedding is empty")
    return found
