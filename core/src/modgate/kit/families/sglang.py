"""SGLang: its flat errors, its members in chat replies, and where it counts reasoning.

Source: wire.md 2.6 and 1.4 (SGLang 0.5.23).
"""

from __future__ import annotations

import orjson

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.chat_wire import Extra, decoded


class Sglang(ChatDialect):
    """What every chat modality's SGLang dialect shares."""

    family = "sglang"
    reasoning = "reasoning_content"
    developer = "system"
    extra = Extra("hidden_states", "meta_info")

    def worded(self, data: bytes) -> bytes:
        """Reasoning tokens are counted beside the others; the home wire has them inside."""
        data = super().worded(data)
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
    return orjson.dumps(value)
