"""Reading how many tokens an engine says that it counted."""

from __future__ import annotations

from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import Json


def told(reply: Json, *path: str) -> int | None:
    """Tokens as an engine tells them at a place of its reply.

    None for what is no count, for a reply is not bad because its engine cannot count: what is
    negative, no whole number, or more than any engine reads.
    """
    for name in path:
        reply = reply.get(name) if isinstance(reply, dict) else None
    if isinstance(reply, float) and reply.is_integer():
        reply = int(reply)
    return reply if type(reply) is int and 0 <= reply <= TOKENS_AT_MOST else None
