"""SGLang: its flat errors, its members in chat replies, and where it counts reasoning.

Source: wire.md 2.6 and 1.4 (SGLang 0.5.23); sgl-project/sglang, python/sglang/srt/entrypoints/
openai/protocol.py (commit 004c82e) and serving_chat.py (002897c).
"""

from __future__ import annotations

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.chat_wire import Created, Extra, decoded, encoded
from modgate.plugin import Call, Served


class Sglang(ChatDialect):
    """What every chat modality's SGLang dialect shares."""

    family = "sglang"
    probe = "/ready"  # its /health may run a token through the model
    reasoning = "reasoning_content"
    developer = "system"
    salted = True
    moderates = False
    extra = Extra(
        *("hidden_states", "meta_info", "sglext", "metadata", "token_ids", "prompt_token_ids")
    )

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._created = Created()

    def worded(self, data: bytes) -> bytes:
        """Reasoning tokens are counted beside the others; the home wire has them inside.

        Its clock goes on while it streams; a reply was created once.
        """
        data = self._created.same(super().worded(data))
        if b'"reasoning_tokens"' in data:
            data = _inside(data)
        return data.replace(b'"matched_stop":', b'"stop_reason":')


def _inside(data: bytes) -> bytes:
    value = decoded(data)
    usage = value.get("usage")
    if not isinstance(usage, dict) or "reasoning_tokens" not in usage:
        return data
    count = usage.pop("reasoning_tokens")
    details = usage.get("completion_tokens_details") or {}
    usage["completion_tokens_details"] = {"reasoning_tokens": count, **details}
    return encoded(value)
