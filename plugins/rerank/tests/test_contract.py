"""The contract, applied to rerank."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import orjson

from modgate.kit.tokens import estimate
from modgate.plugin import Call
from modgate.testing import Contract
from modgate_rerank.batching import is_shared
from modgate_rerank.dialects import DIALECTS
from modgate_rerank.modality import Rerank


class TestRerank(Contract):
    """Every rule of the kit."""

    modality = Rerank
    dialects: ClassVar = DIALECTS

    def engine(self, call: Call) -> bytes:
        """A score that depends on the pair, and the gateway's own estimate of its tokens."""
        body = orjson.loads(bytes(call.body.content))
        documents = body["documents"]
        queries = body["queries"] if is_shared(call) else [body["query"]] * len(documents)
        pairs = list(zip(queries, documents, strict=True))
        scores = [hashlib.sha256(repr(pair).encode()).digest()[0] / 256 for pair in pairs]
        usage = {"total_tokens": sum(estimate(text) for pair in pairs for text in pair)}
        if is_shared(call):
            return orjson.dumps({"scores": scores, "usage": usage})
        rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        return orjson.dumps({"results": rows, "usage": usage})
