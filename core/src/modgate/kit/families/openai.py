"""A paid API that speaks OpenAI's own wire: OpenAI, or a vendor that copies it exactly.

Source: wire.md 2.1; the published API reference (errors, `max_completion_tokens`, obfuscation).
"""

from __future__ import annotations

from collections.abc import Mapping

from modgate.kit.chat_dialect import NEW_MAXIMUM, ChatDialect
from modgate.plugin import Body, GatewayError, UpstreamFailed


class OpenAi(ChatDialect):
    """It refuses members that it does not know, and pads its stream unless told not to."""

    family = "openai"
    probe = "/v1/models"
    maximum = NEW_MAXIMUM
    reasoning = None

    def body(self) -> Body:
        """The padding hides lengths on the way to us, inside TLS; to a client it is no use."""
        body = super().body()
        options = body.member("stream_options")
        if options is None:
            return body
        return body.put(stream_options={"include_obfuscation": False, **options})

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A spent quota is the operator's, and waiting does not help."""
        if status == 429 and b"insufficient_quota" in body:
            return UpstreamFailed("the engine's quota is spent")
        return super().refusal(status, headers, body)
