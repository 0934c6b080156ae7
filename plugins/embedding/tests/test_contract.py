"""The contract, kept by embeddings."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import orjson

from modgate.plugin import Call
from modgate.testing import Contract
from modgate_embedding import Embedding
from modgate_embedding.dialects import DIALECTS


class TestEmbedding(Contract):
    modality = Embedding
    dialects: ClassVar = DIALECTS

    def engine(self, call: Call) -> bytes:
        """A vector that depends on the input, and tokens by input."""
        members = call.body.members()
        inputs = orjson.loads(members["input"])
        length = orjson.loads(members.get("dimensions", b"8"))
        tokens = [len(str(each)) for each in inputs]
        vectors = [list(hashlib.sha256(str(each).encode()).digest()[:length]) for each in inputs]
        rows = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {"prompt_tokens": sum(tokens), "by_input": tokens}
        return orjson.dumps({"object": "list", "data": rows, "usage": usage})
