"""The contract, kept by embeddings."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import orjson

from modgate.plugin import Call
from modgate.testing import Contract
from modgate_embedding import Embedding
from modgate_embedding.dialects import EmbeddingHome


class TestEmbedding(Contract):
    modality = Embedding
    dialects: ClassVar = (EmbeddingHome,)

    def engine(self, call: Call) -> bytes:
        """A vector that depends on the input, and tokens by input."""
        inputs = orjson.loads(call.body.members()["input"])
        tokens = [len(str(each)) for each in inputs]
        rows = [
            {"index": index, "embedding": list(hashlib.sha256(str(each).encode()).digest()[:2])}
            for index, each in enumerate(inputs)
        ]
        usage = {"prompt_tokens": sum(tokens), "by_input": tokens}
        return orjson.dumps({"object": "list", "data": rows, "usage": usage})
