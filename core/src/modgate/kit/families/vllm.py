"""vLLM: its members in chat replies, its name for reasoning, and its token counter.

Source: wire.md 2.6 and 1.4 (vLLM 0.33.0); vllm-project/vllm, vllm/entrypoints/openai/
chat_completion/protocol.py (commit 002032e) and serving.py (006c49d).
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.chat_wire import Extra
from modgate.plugin import Event


class Vllm(ChatDialect):
    """What every chat modality's vLLM dialect shares."""

    family = "vllm"
    tokenizes = True
    reasoning = "reasoning"
    developer = "system"
    salted = True
    moderates = False
    extra = Extra(
        *("token_ids", "prompt_token_ids", "prompt_logprobs", "prompt_text"),
        *("kv_transfer_params", "ec_transfer_params", "routed_experts", "metrics", "service_tier"),
    )

    def decode(self, event: Event) -> Iterable[Event]:
        """Of its token counter's reply only the count is the home wire's."""
        if self.call.path == "/tokenize":
            count = event.fields().integer("count", at_least=0)
            return (Event(orjson.dumps({"count": count})),)
        return super().decode(event)
