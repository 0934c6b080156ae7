"""Traces for OTLP: spans are made from a receipt when the request is over, and exported by a
thread.

One SERVER span, a CLIENT span per attempt with the span id that went upstream, and INTERNAL steps.
Needs the extra modgate[otel].  Source: wire.md 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from modgate.api.residency import may_lie
from modgate.api.sink import Attempt, Receipt, Step

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind

QUEUE_AT_MOST = 4096
FLUSH_MS = 2000
EXPORT_S = 3
# A stream can fail after its status 200 was sent.
FAILED = frozenset({"upstream_failed", "timed_out", "fault"})
Attributes = Mapping[str, str | int | float | bool]
# What has a name in the conventions.  Source: wire.md 9 (semconv 0.66b2).
USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
}
# By operation; what a chat is to be is the client's to say.
OUTPUT = {"speech": "speech", "transcription": "text", "translation": "text", "ocr": "text"}


class MissingExtra(Exception):
    """`[trace] otlp` is set and the extra is not installed."""


class Exporter:
    """Sends the spans of sampled receipts to an OTLP/HTTP endpoint; never waits, never raises."""

    def __init__(self, endpoint: str, region: str = "") -> None:
        """`region`: where the endpoint stands."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise MissingExtra("tracing needs the extra modgate[otel]") from None
        url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint.rstrip('/')}/v1/traces"
        self._region = region
        self._resource = Resource.create({"service.name": "modgate"})
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=url, timeout=EXPORT_S),
            max_queue_size=QUEUE_AT_MOST,
            schedule_delay_millis=FLUSH_MS,
        )

    def observe(self, receipt: Receipt) -> None:
        """Queue the spans of a sampled receipt."""
        if receipt.sampled and may_lie(receipt.regions, self._region):
            for span in self.spans(receipt):
                self._processor.on_end(span)

    def spans(self, receipt: Receipt) -> Iterator[ReadableSpan]:
        """The spans of one request."""
        from opentelemetry.trace import SpanKind

        server = _context(receipt.trace_id, receipt.span_id)
        parent = (
            _context(receipt.trace_id, receipt.parent_span_id) if receipt.parent_span_id else None
        )
        name = f"{receipt.method} {receipt.route}" if receipt.route else receipt.method
        yield self._span(
            name,
            server,
            parent,
            SpanKind.SERVER,
            receipt,
            (0.0, receipt.duration_s),
            _request_attributes(receipt),
            receipt.error if receipt.status >= 500 or receipt.ending in FAILED else "",
        )
        for attempt in receipt.attempts:
            context = _context(receipt.trace_id, attempt.span)
            ended = attempt.ended_s if attempt.ended_s is not None else receipt.duration_s
            yield self._span(
                f"{attempt.operation} {attempt.model}",
                context,
                server,
                SpanKind.CLIENT,
                receipt,
                (attempt.began_s, ended),
                _attempt_attributes(attempt),
                attempt.error,
            )
        for number, step in enumerate(receipt.steps):
            yield self._step(number, step, server, receipt)

    def _step(self, number: int, step: Step, server: SpanContext, receipt: Receipt) -> ReadableSpan:
        from opentelemetry.trace import SpanKind

        made = f"{(int(receipt.span_id, 16) ^ (number + 1) * 0x9E3779B97F4A7C15) % 2**64 or 1:016x}"
        context = _context(receipt.trace_id, made)
        times = (step.began_s, step.ended_s)
        return self._span(step.name, context, server, SpanKind.INTERNAL, receipt, times, {}, "")

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        receipt: Receipt,
        times: tuple[float, float],
        attributes: Attributes,
        error: str,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status, StatusCode

        more = {"error.type": error} if error else {}
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={**attributes, **more},
            kind=kind,
            status=Status(StatusCode.ERROR) if error else Status(StatusCode.UNSET),
            start_time=round((receipt.wall + times[0]) * 1e9),
            end_time=round((receipt.wall + times[1]) * 1e9),
        )

    def close(self) -> None:
        """Export what is queued, within the SDK's own deadline."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK ships no hint here


def _context(trace_id: str, span_id: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(1))


def _request_attributes(receipt: Receipt) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {
        "http.request.method": receipt.method,
        "http.route": receipt.route,
        "http.response.status_code": receipt.status,
        "modgate.request_id": receipt.request_id,
        "modgate.tenant": receipt.tenant,
        "modgate.ending": receipt.ending,
    }
    if receipt.client_request_id:
        found["modgate.client_request_id"] = receipt.client_request_id
    if receipt.modality:
        found["gen_ai.operation.name"] = receipt.operation
        found["gen_ai.request.model"] = receipt.model
        found["gen_ai.request.stream"] = receipt.stream
        if (output := OUTPUT.get(receipt.operation)) is not None:
            found["gen_ai.output.type"] = output
        for name, count in receipt.units.items():
            own, _, short = name.partition(".")
            if own == receipt.modality:
                found[USAGE.get(short, f"modgate.usage.{short}")] = count
            else:  # of a model that was asked on the way
                found[f"modgate.usage.{name}"] = count
    return found


def _attempt_attributes(attempt: Attempt) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {
        "gen_ai.operation.name": attempt.operation,
        "gen_ai.request.model": attempt.model,
        "gen_ai.provider.name": attempt.family,
        "modgate.backend": attempt.backend,
        "modgate.region": attempt.region,
    }
    if attempt.status is not None:
        found["http.response.status_code"] = attempt.status
    if attempt.first_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = attempt.first_s - attempt.began_s
    return found
