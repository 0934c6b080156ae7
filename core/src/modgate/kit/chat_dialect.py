"""The chat home wire at an engine.

Errors that hide in streams, and a `[DONE]` that may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from modgate.kit.chat import context_exceeded
from modgate.plugin import (
    Call,
    Dialect,
    Event,
    GatewayError,
    Outgoing,
    Refused,
    Served,
    Unsupported,
    UpstreamFailed,
    engine_message,
    refusal_of,
)

NAMES = ("", "message", "error")  # chat events have none; what has another is not for us
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
# Source: wire.md 1.4, the texts of vLLM, SGLang and llama.cpp.
_OVERFLOWS = (
    re.compile(r"maximum context length is (\d+) tokens.*?(\d+)", re.IGNORECASE | re.DOTALL),
    re.compile(r"model's context length \((\d+) tokens\)", re.IGNORECASE),
    re.compile(r"longer than the maximum model length of (\d+)", re.IGNORECASE),
    re.compile(r"exceed(?:s|ed)? the (?:model's maximum context length|available context size)"),
)


class ChatDialect(Dialect):
    """An engine that speaks OpenAI chat; families derive from it."""

    tokenizes: ClassVar[bool] = False

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._finished = False

    def encode(self) -> Outgoing:
        """The body with the engine's name; `/tokenize` only where the family has it."""
        if self.call.path == "/tokenize" and not self.tokenizes:
            raise Unsupported(f"engines of family '{self.family}' count no tokens")
        return super().encode()

    def decode(self, event: Event) -> Iterable[Event]:
        """Notes the finish, and raises what an engine says inside a stream that is 200."""
        if event.name not in NAMES:
            return ()
        data = event.data
        if b'"error"' in data and b'"choices":[{' not in data:
            message = engine_message(data)
            if message:
                raise self.overflow(message) or UpstreamFailed("the engine reported an error")
        if not self._finished and _FINISHED.search(data) is not None:
            self._finished = True
        return super().decode(event)

    def end(self, done: bool) -> Iterable[Event]:
        """A missing [DONE] is forgiven once a finish_reason was seen."""
        return () if self._finished else super().end(done)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error; an overflow of its context in the exact words that SDKs match on."""
        message = engine_message(body)
        if status in (400, 413, 422) and (overflow := self.overflow(message)) is not None:
            return overflow
        return refusal_of(status, headers, message)

    def overflow(self, message: str) -> Refused | None:
        """The context error that an engine's text means, if it means one."""
        param = "prompt" if self.call.path.endswith("/v1/completions") else "messages"
        for pattern in _OVERFLOWS:
            found = pattern.search(message)
            if found is None:
                continue
            numbers = [int(each) for each in found.groups()] or [
                int(each) for each in re.findall(r"\d+", message)[::-1]
            ]
            context = numbers[0] if numbers else 0
            prompt = numbers[1] if len(numbers) > 1 else context + 1
            return context_exceeded(context, prompt, None, param)
        return None
