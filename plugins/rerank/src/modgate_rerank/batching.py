"""Sending searches of several requests in one call, to engines that score pairs.

A shared call has `queries` in place of `query`, one for each of its `documents`.  The reply to it
is `{scores}`, one for each pair, with `usage`.  Most engines take one query a call (TEI, Infinity,
SGLang, llama.cpp).  The models there do not set `pairs`, and each search goes alone.

Source: wire.md 8.4 (vLLM's `/score`) and 6.3.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import orjson

from modgate.kit.apportion import apportion
from modgate.kit.told import told
from modgate.plugin import NOTHING, BadReply, Batching, Call, Event, Json
from modgate_rerank.config import Config

PATH = "/v2/rerank"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankCall(Call):
    """The call for one slice of a search.  `pairs`: it may share a call with other searches."""

    query: str
    documents: Sequence[str]
    pairs: bool = False


def batching(config: Config) -> Batching:
    """How the core joins searches into one call."""
    return Batching(
        key=key,
        merge=merge,
        split=split,
        count=lambda call: call.size["documents"],
        most=config.trip_documents,
    )


def key(call: Call) -> Hashable | None:
    """Equal for searches that may share a call: all but their texts is the same.  None: alone."""
    if not isinstance(call, RerankCall) or not call.pairs:
        return None
    members = call.body.members().items()
    own = ("query", "documents")
    return (call.path, tuple(sorted((name, value) for name, value in members if name not in own)))


def merge(calls: Sequence[Call]) -> Call:
    """One call with the pairs of all searches, in order."""
    searches = [call for call in calls if isinstance(call, RerankCall)]
    body = (
        searches[0]
        .body.drop("query", "documents")
        .put(
            queries=[each.query for each in searches for _ in each.documents],
            documents=[text for each in searches for text in each.documents],
        )
    )
    size = sum((call.size for call in calls), NOTHING)
    return Call(path=PATH, body=body, size=size, requires=calls[0].requires)


def split(calls: Sequence[Call], event: Event) -> Sequence[Event]:
    """The reply to a shared call as one reply for each search, with its share of the tokens.

    BadReply unless there is one score for each pair.
    """
    fields = event.fields()
    counts = [call.size["documents"] for call in calls]
    scores = fields.items("scores")
    if len(scores) != sum(counts):
        raise BadReply("the engine did not score every pair once")
    total = told(fields.values, "usage", "total_tokens")
    tokens: Sequence[int | None] = [None] * len(calls)
    if total:
        tokens = apportion(total, [call.size["input_tokens"] for call in calls])
    logits = fields.flag("logits", False)
    shares, start = [], 0
    for count, mine in zip(counts, tokens, strict=True):
        reply: dict[str, Json] = {"results": results(scores[start : start + count])}
        if logits:
            reply["logits"] = True
        if mine is not None:
            reply["usage"] = {"total_tokens": mine, "apportioned": True}
        shares.append(Event(orjson.dumps(reply), headers=event.headers))
        start += count
    return shares


def is_shared(call: Call) -> bool:
    """Whether a call was made by `merge`."""
    return "queries" in call.body.members()


def results(scores: Sequence[Json]) -> list[Json]:
    """Scores, in the order of the documents, as results of the home wire."""
    return [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
