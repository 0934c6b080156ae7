"""W3C trace context: one trace per request, a span id per attempt.  Bad input starts a new trace.

Source: W3C Trace Context 1; wire.md 1.9.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

import msgspec

from modgate.observe.logs import redacted

STATE_AT_MOST = 512
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A request's place in a trace.

    `parent` is the client's span, None when the trace begins here.
    """

    trace_id: str
    span_id: str
    parent: str | None = None
    sampled: bool = False
    state: str = ""

    @staticmethod
    def of(
        headers: Mapping[str, str],
        *,
        sample: float = 0.0,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> Trace:
        """The trace of a request's headers.  `sample`: share of new traces that are exported."""
        random = entropy(24)
        span_id = random[16:].hex()
        value = headers.get("traceparent")
        if value is not None and (found := _parsed(value)) is not None:
            trace_id, parent, flags = found
            state = headers.get("tracestate", "")
            return Trace(
                trace_id=trace_id,
                span_id=span_id,
                parent=parent,
                sampled=bool(flags & 1),
                state=state if len(state) <= STATE_AT_MOST else "",
            )
        # By the last 7 bytes of the trace id, as other samplers do: all of them take the same ones.
        sampled = sample > 0 and int.from_bytes(random[9:16]) < sample * 2**56
        return Trace(trace_id=random[:16].hex(), span_id=span_id, sampled=sampled)

    def header(self, span: str) -> str:
        """The traceparent that goes upstream, with `span` as its parent."""
        return f"00-{self.trace_id}-{span}-{'01' if self.sampled else '00'}"

    @staticmethod
    def client_id(headers: Mapping[str, str]) -> str:
        """The id that the client gave its request, if it is harmless: short, and like no key."""
        value = headers.get("x-request-id") or headers.get("x-client-request-id") or ""
        harmless = value and _CLIENT_ID.fullmatch(value) and redacted(value) == value
        return value if harmless else ""


def _parsed(value: str) -> tuple[str, str, int] | None:
    found = _PARENT.fullmatch(value.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    if found[2] == _NO_TRACE or found[3] == _NO_SPAN:
        return None
    return found[2], found[3], int(found[4], 16)
