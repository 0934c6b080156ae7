"""llama.cpp's server: its errors, its token counter, and where it says that it is well.

Source: wire.md 2.6 and 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import orjson

from modgate.kit.chat import context_exceeded
from modgate.kit.chat_dialect import ChatDialect
from modgate.plugin import (
    BadReply,
    Body,
    Event,
    GatewayError,
    Json,
    ModelLoading,
    Outgoing,
    Refused,
)

EXTRA_KEYS = ("timings", "__verbose", "generation_settings")
_EXTRA = re.compile(rb'"(?:timings|__verbose|generation_settings)"')


class LlamaCpp(ChatDialect):
    """What every modality's llama.cpp dialect shares."""

    family = "llamacpp"
    probe = "/health"
    tokenizes = True

    def encode(self) -> Outgoing:
        """Its `/tokenize` takes plain text as `content`."""
        if self.call.path != "/tokenize":
            return super().encode()
        text = orjson.loads(self.call.body.members().get("prompt", b'""'))
        return Outgoing(path="/tokenize", body=Body.of(content=text))

    def decode(self, event: Event) -> Iterable[Event]:
        """Its own keys are taken out; a token list becomes a count."""
        if self.call.path == "/tokenize":
            tokens = event.fields().items("tokens", empty=True)
            return (Event(orjson.dumps({"count": len(tokens)})),)
        if _EXTRA.search(event.data) is not None:
            event.data = _without_extras(event.data)
        return super().decode(event)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """503 while it loads; a context overflow with both numbers."""
        error = _error(body)
        if error.get("type") == "exceed_context_size_error":
            prompt, context = error.get("n_prompt_tokens"), error.get("n_ctx")
            if type(prompt) is int and type(context) is int:
                return context_exceeded(context, prompt, None)
        if status == 503 and "loading" in str(error.get("message", "")).lower():
            return ModelLoading("the model is still loading")
        if status == 501:
            return Refused(None, "unsupported_value", "the engine does not support this request")
        return super().refusal(status, headers, body)


def _error(body: bytes) -> Mapping[str, Json]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _without_extras(data: bytes) -> bytes:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadReply("the engine's event is not valid JSON") from None
    if not isinstance(value, dict):
        raise BadReply("the engine's event is not a JSON object")
    for key in EXTRA_KEYS:
        value.pop(key, None)
    return orjson.dumps(value)
