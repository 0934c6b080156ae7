"""Receipts as OpenTelemetry spans.  Import this only where modgate[otel] is installed.

One SERVER span for the request, one CLIENT span for each attempt under the span id that went
upstream, and one INTERNAL span for each step.  Source: wire.md 9; HTTP and GenAI semantic
conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from modgate.api.sink import Attempt, Receipt
from modgate.observe.tracing import Trace

SPANS_AT_MOST = 1000

Value = str | int | float | bool
Attributes = dict[str, Value]

FAILED = frozenset({"upstream_failed", "timed_out", "fault", "gateway_crash"})
OUTPUT = {"speech": "speech", "transcription": "text", "translation": "text", "ocr": "text"}


class GivenIds(IdGenerator):
    """Gives spans the ids that they had while the request lived."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        """The request's."""
        return self.trace_id

    def generate_span_id(self) -> int:
        """The span's."""
        return self.span_id


class Collected(SpanProcessor):
    """Keeps the spans that ended, until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """All since the last time."""
        taken, self._spans = self._spans, []
        return taken


class Sender:
    """Makes spans and posts them; belongs to one thread."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], service: str, timeout_s: float
    ) -> None:
        self._spans = Spans(service)
        self._exporter = OTLPSpanExporter(endpoint=url, headers=headers, timeout=timeout_s)
        self._shut: Callable[[], None] = self._exporter.shutdown

    def send(self, receipts: Sequence[Receipt]) -> bool:
        """Whether the spans of these receipts arrived; takes at most the timeout."""
        spans = [span for receipt in receipts for span in self._spans.of(receipt)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Close the connections; an export that waits to try again gives up."""
        self._shut()


class Spans:
    """Makes the spans of receipts."""

    def __init__(self, service: str) -> None:
        self._ids = GivenIds()
        self._collected = Collected()
        about = {"service.name": service, "service.version": version("modgate")}
        provider = TracerProvider(
            resource=Resource(about),
            sampler=ALWAYS_ON,
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._collected)
        self._tracer = provider.get_tracer("modgate", about["service.version"])

    def of(self, receipt: Receipt) -> list[ReadableSpan]:
        """The spans of one request, at most a thousand, the SERVER span first."""
        self._ids.trace_id = int(receipt.trace_id, 16)
        above = _inside(receipt.trace_id, receipt.parent_span_id, remote=True)
        here = _inside(receipt.trace_id, receipt.span_id, remote=False)
        whole = (0.0, receipt.duration_s)
        name = f"{receipt.method} {receipt.route}".rstrip()
        failed = receipt.status >= 500 or receipt.ending in FAILED
        self._add(
            receipt, receipt.span_id, name, SpanKind.SERVER, above, whole, _asked(receipt), failed
        )
        left = SPANS_AT_MOST - 1
        for attempt, attributes in _tried(receipt)[:left]:
            times = (attempt.began_s, _or(attempt.ended_s, receipt.duration_s))
            failed = attempt.state in ("refused", "failed", "timed_out")
            name = f"{attempt.operation} {attempt.model}".strip()
            self._add(receipt, attempt.span, name, SpanKind.CLIENT, here, times, attributes, failed)
        for step in receipt.steps[: max(0, left - len(receipt.attempts))]:
            times = (step.began_s, step.ended_s)
            self._add(receipt, Trace.child(), step.name, SpanKind.INTERNAL, here, times, {}, False)
        return self._collected.take()

    def _add(
        self,
        receipt: Receipt,
        span_id: str,
        name: str,
        kind: SpanKind,
        context: Context,
        times: tuple[float, float],
        attributes: Attributes,
        failed: bool,
    ) -> None:
        self._ids.span_id = int(span_id, 16)
        start, end = (round((receipt.wall + at) * 1e9) for at in times)
        span = self._tracer.start_span(name, context, kind, attributes, start_time=start)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _inside(trace_id: str, span_id: str, *, remote: bool) -> Context:
    if not span_id:
        return Context()
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(1))
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _filled(attributes: Mapping[str, Value | None]) -> Attributes:
    return {name: v for name, v in attributes.items() if v is not None and v != ""}


def _asked(receipt: Receipt) -> Attributes:
    """The SERVER span's attributes."""
    found = _filled(
        {
            "http.request.method": receipt.method,
            "http.route": receipt.route,
            "url.path": receipt.route,
            "http.response.status_code": receipt.status or None,
            "error.type": receipt.error,
            "gen_ai.operation.name": receipt.operation,
            "gen_ai.request.model": receipt.model,
            "modgate.request_id": receipt.request_id,
            "modgate.client_request_id": receipt.client_request_id,
            "modgate.tenant": receipt.tenant,
            "modgate.modality": receipt.modality,
            "modgate.surface": receipt.surface,
            "modgate.slo": receipt.slo,
            "modgate.ending": receipt.ending,
            "modgate.units.exact": receipt.exact,
            "modgate.first_byte_s": receipt.first_byte_s,
        }
    )
    for full, count in receipt.units.items():
        found[f"modgate.units.{full}"] = count
    return found


def _tried(receipt: Receipt) -> list[tuple[Attempt, Attributes]]:
    """Each attempt with its CLIENT span's attributes."""
    tried: list[tuple[Attempt, Attributes]] = []
    before: dict[int, int] = {}
    for attempt in receipt.attempts:
        resent = before.get(attempt.call, 0)
        before[attempt.call] = resent + 1
        more: Attributes = {"http.request.resend_count": resent} if resent else {}
        tried.append((attempt, {**_attempted(receipt, attempt), **more}))
    # What the only call did cost is the request's; with several calls nobody knows each one's part.
    if len(before) == 1 and tried[-1][0].state == "ok":
        tried[-1][1].update(_usage(receipt))
    return tried


def _attempted(receipt: Receipt, attempt: Attempt) -> Attributes:
    waited = None if attempt.first_s is None else attempt.first_s - attempt.began_s
    failure = attempt.error or ("" if attempt.state in ("ok", "pending") else attempt.state)
    return _filled(
        {
            "http.request.method": "POST",
            "http.response.status_code": attempt.status,
            "error.type": failure,
            "gen_ai.operation.name": attempt.operation,
            "gen_ai.provider.name": attempt.family,
            "gen_ai.request.model": attempt.model,
            "gen_ai.request.stream": receipt.stream,
            "gen_ai.output.type": OUTPUT.get(attempt.operation),
            "gen_ai.response.time_to_first_chunk": waited if receipt.stream else None,
            "modgate.backend": attempt.backend,
            "modgate.region": attempt.region,
            "modgate.call": attempt.call,
            "modgate.sent": attempt.sent,
            "modgate.state": attempt.state,
        }
    )


def _usage(receipt: Receipt) -> Attributes:
    names = {
        "input_tokens": "gen_ai.usage.input_tokens",
        "output_tokens": "gen_ai.usage.output_tokens",
        "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    }
    units = ((full.partition(".")[2], count) for full, count in receipt.units.items())
    return {names[unit]: count for unit, count in units if unit in names}
