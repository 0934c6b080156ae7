"""Reading an engine's reply in the home wire."""

from __future__ import annotations

from typing import Annotated

import msgspec

from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.kit.told import told
from modgate.plugin import BadReply, Json

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
    """The count; None where there is none.

    A reply is not bad because its engine cannot count, and a member that is no count says nothing
    against the others.
    """
    try:
        said: Json = msgspec.json.decode(usage)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not isinstance(said, dict):
        return None
    each = said.get("by_input")
    by_input = [told(count) for count in each] if isinstance(each, list) else []
    known = [count for count in by_input if count is not None]
    return Counted(
        prompt_tokens=told(said, "prompt_tokens"),
        total_tokens=told(said, "total_tokens"),
        by_input=known if known and len(known) == len(by_input) else None,
        apportioned=said.get("apportioned") is True,
    )


def numbers(row: Row) -> list[float]:
    """The numbers of a vector.  BadReply when they are none."""
    try:
        found = _NUMBERS.decode(row.embedding)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadReply("the engine's embedding is not a list of numbers") from None
    if not found:
        raise BadReply("the engine's embedding is empty")
    return found
