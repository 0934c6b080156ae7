"""The rerank modality: endpoints, units, and how a request becomes calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from uuid import UUID

from modgate.kit.facts import facts_of
from modgate.kit.families.tei import taken_at_once
from modgate.plugin import (
    MIB,
    Body,
    Call,
    Endpoint,
    Event,
    Json,
    Modality,
    Plan,
    Refused,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    Usage,
)
from modgate_rerank.ask import Asked, read
from modgate_rerank.batching import PATH, RerankCall, batching
from modgate_rerank.config import Config, Facts
from modgate_rerank.relay import Ranked, read_tokens
from modgate_rerank.samples import SAMPLES

PATHS = ("/v2/rerank", "/v1/rerank", "/rerank", "/v1/reranking")


class Rerank(Modality[Config]):
    """Documents ordered by relevance to a query, metered in documents."""

    name = "rerank"
    units = (
        Unit("documents", "documents that were scored"),
        Unit("input_tokens", "tokens that the engine read: each document with the query"),
        Unit("search_units", "searches of up to 100 documents of up to 500 tokens"),
    )
    weights = {"input_tokens": 1.0}
    phases = {"total": Target(base_s=0.08, per_unit={"input_tokens": 20e-6})}
    deadlines = {
        "first_byte": Target(base_s=60.0, per_unit={"documents": 0.5}),
        "total": Target(base_s=60.0, per_unit={"documents": 0.5}),
    }
    gateway_counts = frozenset({"documents", "search_units"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES
    stand_in = StandIn()

    def endpoints(self) -> Iterator[Endpoint]:
        """Cohere's v2 path, and the one that cohere v1, jina and voyage share, with its aliases."""
        for path in PATHS:
            yield Endpoint(
                path=path,
                surfaces=("cohere",) if path.startswith("/v2") else ("voyage", "cohere"),
                shape=self.shape,
                at_most=32 * MIB,
                batch=batching(self.config),
                model_optional=not path.startswith("/v2"),
                summary="rank documents by relevance to a query",
                operation="rerank",
            )

    def shape(self, request: Request) -> Plan:
        """One call for each slice of documents; the best ones are chosen when all are scored."""
        facts = facts_of(request, Facts)
        asked = read(request, self.config, facts)
        bounds = self._bounds(len(asked.documents), facts, request.model.families)
        calls = [_call(asked, facts, start, end) for start, end in pairwise(bounds)]
        relay = Ranked(
            asked,
            bounds,
            model=request.asked,
            reply_id=str(UUID(hex=request.id.removeprefix("req_"))),
            logits=facts.logits,
        )
        reserve = Units(
            documents=len(asked.documents),
            input_tokens=asked.tokens(0, len(asked.documents)),
            search_units=asked.search_units,
        )
        return Plan(
            calls=calls, relay=relay, reserve=reserve, width=min(self.config.width, len(calls))
        )

    def count(self, call: Call, event: Event) -> Usage:
        """What a side call cost: the tokens that its engine says it read, else as was estimated."""
        tokens, shared = read_tokens(event.fields())
        if tokens is None:
            return super().count(call, event)
        units = Units(dict(call.size.items()), input_tokens=tokens)
        if shared:
            return Usage(units, exact=False, by="estimate")
        return Usage(units, exact=True, by="engine")

    def _bounds(self, count: int, facts: Facts, families: Collection[str]) -> list[int]:
        """Where each slice of `count` documents starts, and the end.

        Refused when a model that must see all documents at once takes fewer.
        """
        usual = taken_at_once(families, self.config.slice)
        step = min(self.config.slice, facts.batch or usual)
        if facts.listwise:
            if facts.batch is not None and count > facts.batch:
                reason = f"this model ranks at most {facts.batch} documents at once"
                raise Refused("documents", "array_above_max_length", reason)
            step = count
        return [*range(0, count, step), count]


def _call(asked: Asked, facts: Facts, start: int, end: int) -> RerankCall:
    """The call for the documents from `start` to `end`, which is behind the last."""
    documents = asked.documents[start:end]
    fields: dict[str, Json] = {"query": asked.query, "documents": documents}
    if asked.max_tokens_per_doc is not None:
        fields["max_tokens_per_doc"] = asked.max_tokens_per_doc
    if not asked.truncation:
        fields["truncation"] = False
    return RerankCall(
        path=PATH,
        body=Body.of(**fields),
        size=Units(documents=len(documents), input_tokens=asked.tokens(start, end)),
        query=asked.query,
        documents=documents,
        pairs=facts.pairs and not facts.listwise and asked.max_tokens_per_doc is None,
    )
