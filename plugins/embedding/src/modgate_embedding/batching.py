"""Sending the inputs of several requests in one call.  Pure functions on the home wire.

Source: wire.md 6.3.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from modgate.kit.apportion import apportion
from modgate.plugin import NOTHING, Batching, Body, Call, Event
from modgate_embedding.config import Config
from modgate_embedding.reply import Counted, Reply, Row, parse

PATH = "/v1/embeddings"
OWN = ("input", "model", "user")  # members that may differ between calls that are joined


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCall(Call):
    """A call for some inputs of one request.

    `at_most`: how many inputs its engine takes at once.  `ids`: they are token numbers, and cannot
    be joined with texts.  `alone`: the call must not be joined with others.  `counted`: the tokens
    of its size are no estimate.
    """

    at_most: int
    ids: bool
    alone: bool = False
    counted: bool = False


def batching(config: Config) -> Batching:
    """How the core joins calls into one."""
    most = config.trip_items

    def count(call: Call) -> int:
        """What a call weighs of `most`: more for an engine that takes few inputs, or long texts."""
        inputs, tokens = call.size["inputs"], call.size["input_tokens"]
        room = min(most, call.at_most) if isinstance(call, EmbeddingCall) else most
        return max(-(-inputs * most // room), -(-tokens * most // config.trip_tokens))

    return Batching(key=key, merge=merge, split=split, count=count, most=most)


def key(call: Call) -> Hashable | None:
    """Equal for calls that may be joined: all but their inputs is the same.  None: alone."""
    if not isinstance(call, EmbeddingCall) or call.alone:
        return None
    members = call.body.members().items()
    same = sorted((name, value) for name, value in members if name not in OWN)
    return (call.path, call.ids, call.at_most, tuple(same))


def merge(calls: Sequence[Call]) -> Call:
    """One call with the inputs of all, in order, and without `user`, which may differ."""
    first = calls[0]
    inputs = b",".join(call.body.members()["input"].strip()[1:-1] for call in calls)
    members = {
        name: value for name, value in first.body.members().items() if name not in ("input", "user")
    }
    body = Body("json", members={**members, "input": b"[" + inputs + b"]"})
    size = sum((call.size for call in calls), NOTHING)
    return Call(path=first.path, body=body, size=size, requires=first.requires)


def split(calls: Sequence[Call], event: Event) -> Sequence[Event]:
    """The reply to joined calls as one for each.  BadReply unless each input has its vector."""
    ends = [0]
    for call in calls:
        ends.append(ends[-1] + call.size["inputs"])
    reply = parse(event.data, ends[-1])
    counts = _counts(calls, list(pairwise(ends)), reply.usage)
    return [
        Event(
            msgspec.json.encode(Reply(data=_renumbered(reply.data[start:end]), usage=usage)),
            headers=event.headers,
        )
        for (start, end), usage in zip(pairwise(ends), counts, strict=True)
    ]


def _renumbered(rows: Sequence[Row]) -> list[Row]:
    return [Row(index=index, embedding=row.embedding) for index, row in enumerate(rows)]


def _counts(
    calls: Sequence[Call], spans: Sequence[tuple[int, int]], usage: Counted | None
) -> Sequence[Counted | None]:
    """Tokens of each call: by input where the engine says so, else by estimated weight."""
    total = usage.tokens if usage is not None else None
    if usage is None or total is None:
        return [None] * len(calls)
    by_input = usage.by_input
    if by_input is not None and len(by_input) == spans[-1][1] and sum(by_input) == total:
        return [Counted(prompt_tokens=sum(by_input[start:end])) for start, end in spans]
    if sum(call.size["input_tokens"] for call in calls) == total and all(map(_is_counted, calls)):
        return [Counted(prompt_tokens=call.size["input_tokens"]) for call in calls]
    shares = apportion(total, [call.size["input_tokens"] for call in calls])
    return [Counted(prompt_tokens=share, apportioned=True) for share in shares]


def _is_counted(call: Call) -> bool:
    return isinstance(call, EmbeddingCall) and call.counted
