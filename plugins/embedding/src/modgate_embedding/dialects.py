"""How engines spell embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modgate.plugin import Dialect, GatewayError, engine_message, refusal_of
from modgate_embedding.ask import too_long

# Source: wire.md 1.4; the texts of vLLM, SGLang, TEI and llama.cpp, with the bound and the length.
_OVERFLOWS = (
    re.compile(r"maximum context length is (\d+) tokens\D+(\d+)", re.IGNORECASE),
    re.compile(r"must have less than (\d+) tokens\. Given: (\d+)", re.IGNORECASE),
    re.compile(r"longer than the maximum model length of (\d+)", re.IGNORECASE),
    re.compile(r"model's context length \((\d+) tokens\)", re.IGNORECASE),
    re.compile(r"maximum context length is (\d+)", re.IGNORECASE),
)


class EmbeddingHome(Dialect):
    """Any engine that speaks OpenAI embeddings."""

    modality = "embedding"

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error; an input over its bound in the exact words that SDKs match on."""
        message = engine_message(body)
        if status in (400, 413, 422):
            for pattern in _OVERFLOWS:
                if found := pattern.search(message):
                    most, *given = map(int, found.groups())
                    return too_long(most, given[0] if given else None)
        return refusal_of(status, headers, message)
