"""Traces as a collector receives them: a small OTLP/HTTP server decodes what was posted."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from modgate.api.sink import Attempt, Receipt, Step
from modgate.observe.observer import Observer
from modgate.observe.otel import Exporter, MissingExtra

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")  # of modgate[otel]

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

Made = Callable[..., Receipt]
INTERNAL, SERVER, CLIENT = Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT


class Collector:
    """Receives OTLP on loopback."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.paths.append(self.path)
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                if collector.status == 200:
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def attributes(span: Span) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


def exported(collector: Collector, *receipts: Receipt) -> list[Span]:
    exporter = Exporter(collector.url)
    for each in receipts:
        exporter.observe(each)
    exporter.close()
    return collector.spans()


def test_a_request_is_a_server_span_under_the_clients_span(
    collector: Collector, made: Made
) -> None:
    [server, *_] = exported(collector, made(parent_span_id="d" * 16))

    assert (server.kind, server.name) == (SERVER, "POST /v1/chat/completions")
    assert server.trace_id.hex() == "a" * 32
    assert server.span_id.hex() == "b" * 16
    assert server.parent_span_id.hex() == "d" * 16
    assert server.start_time_unix_nano == 1_700_000_000_000_000_000
    assert server.end_time_unix_nano - server.start_time_unix_nano == 1_500_000_000
    assert server.status.code == Status.STATUS_CODE_UNSET
    found = attributes(server)
    assert found["http.request.method"] == "POST"
    assert found["http.route"] == "/v1/chat/completions"
    assert found["http.response.status_code"] == 200
    assert found["modgate.tenant"] == "acme"
    assert "error.type" not in found


@pytest.mark.parametrize(("given", "told"), [("order-7", "order-7"), ("", None)])
def test_the_clients_own_name_for_a_request_is_on_its_span(
    collector: Collector, made: Made, given: str, told: str | None
) -> None:
    [server, *_] = exported(collector, made(client_request_id=given))

    assert attributes(server).get("modgate.client_request_id") == told


def test_a_trace_that_begins_here_has_no_parent(collector: Collector, made: Made) -> None:
    [server, *_] = exported(collector, made())

    assert server.parent_span_id == b""
    assert server.trace_id.hex() == "a" * 32


def test_each_attempt_is_a_client_span_with_the_id_that_went_upstream(
    collector: Collector, made: Made, tried: Callable[..., Attempt]
) -> None:
    first = tried(span="1" * 16, state="failed", status=503, error="upstream_error", first_s=None)
    second = tried(span="2" * 16, backend="eu-2", began_s=1.3, ended_s=1.4)
    spans = exported(collector, made(attempts=(first, second)))

    clients = [span for span in spans if span.kind == CLIENT]
    assert [span.name for span in clients] == ["chat chat", "chat chat"]
    assert [span.span_id.hex() for span in clients] == ["1" * 16, "2" * 16]
    assert {span.parent_span_id.hex() for span in clients} == {"b" * 16}
    assert {span.trace_id.hex() for span in clients} == {"a" * 32}
    assert [span.status.code for span in clients] == [
        Status.STATUS_CODE_ERROR,
        Status.STATUS_CODE_UNSET,
    ]
    failed, good = map(attributes, clients)
    assert failed["error.type"] == "upstream_error"
    assert failed["http.response.status_code"] == 503
    assert "error.type" not in good
    assert good["gen_ai.operation.name"] == "chat"
    assert good["gen_ai.provider.name"] == "vllm"
    assert good["gen_ai.request.model"] == "chat"
    assert good["modgate.backend"] == "eu-2"
    assert clients[1].start_time_unix_nano == 1_700_000_001_300_000_000
    assert clients[1].end_time_unix_nano == 1_700_000_001_400_000_000


def test_the_steps_are_internal_children(collector: Collector, made: Made) -> None:
    steps = tuple(Step(name=n, began_s=0.1, ended_s=0.2) for n in ("shape", "queue", "select"))
    spans = exported(collector, made(steps=steps, attempts=()))

    inner = [span for span in spans if span.kind == INTERNAL]
    assert [span.name for span in inner] == ["shape", "queue", "select"]
    assert {span.parent_span_id.hex() for span in inner} == {"b" * 16}
    assert len({span.span_id for span in spans}) == 4
    assert inner[0].end_time_unix_nano - inner[0].start_time_unix_nano == 100_000_000


def test_the_usage_is_on_the_server_span(collector: Collector, made: Made) -> None:
    units = {"llm.input_tokens": 100, "llm.cached_tokens": 90, "llm.requests": 1}
    asked = {"embedding.input_tokens": 7}  # by a policy, of another model
    [server, *_] = exported(collector, made(units={**units, **asked}))

    found = attributes(server)
    assert found["gen_ai.usage.input_tokens"] == 100
    assert found["gen_ai.usage.cache_read.input_tokens"] == 90
    assert found["modgate.usage.requests"] == 1
    assert found["modgate.usage.embedding.input_tokens"] == 7


@pytest.mark.parametrize(
    ("operation", "output"), [("speech", "speech"), ("ocr", "text"), ("chat", None)]
)
def test_a_span_says_what_comes_out_and_whether_as_a_stream(
    collector: Collector, made: Made, operation: str, output: str | None
) -> None:
    [server, *_] = exported(collector, made(operation=operation, stream=True))

    assert attributes(server).get("gen_ai.output.type") == output
    assert attributes(server)["gen_ai.request.stream"] is True


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"status": 502, "ending": "upstream_failed", "error": "upstream_error"}, "ERROR"),
        ({"status": 200, "ending": "upstream_failed", "error": "upstream_error"}, "ERROR"),
        ({"status": 500, "ending": "fault", "error": "internal_error"}, "ERROR"),
        ({"status": 400, "ending": "refused", "error": "invalid_value"}, "UNSET"),
        ({"status": 499, "ending": "client_gone", "error": "client_closed_request"}, "UNSET"),
    ],
)
def test_an_error_of_ours_or_the_engines_marks_the_span_and_a_clients_does_not(
    collector: Collector, made: Made, given: dict[str, Any], code: str
) -> None:
    [server, *_] = exported(collector, made(**given))

    assert server.status.code == Status.StatusCode.Value(f"STATUS_CODE_{code}")
    assert attributes(server).get("error.type") == (given["error"] if code == "ERROR" else None)


def test_an_attempt_without_an_end_ends_with_the_request(
    collector: Collector, made: Made, tried: Callable[..., Attempt]
) -> None:
    spans = exported(collector, made(attempts=(tried(ended_s=None, state="pending"),)))

    [client] = [span for span in spans if span.kind == CLIENT]
    assert client.end_time_unix_nano == 1_700_000_001_500_000_000


def test_what_is_not_sampled_is_not_sent(collector: Collector, made: Made) -> None:
    assert exported(collector, made(sampled=False)) == []
    assert collector.paths == []


@pytest.mark.parametrize("tail", ["", "/", "/v1/traces"])
def test_the_service_is_named_and_the_path_is_added_once(
    collector: Collector, made: Made, tail: str
) -> None:
    exporter = Exporter(collector.url + tail)
    exporter.observe(made())
    exporter.close()

    [resource] = collector.requests[0].resource_spans
    about = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert about["service.name"] == "modgate"
    assert collector.paths == ["/v1/traces"]


def test_an_endpoint_that_refuses_raises_nothing(collector: Collector, made: Made) -> None:
    collector.status = 400
    exporter = Exporter(collector.url)
    exporter.observe(made())
    exporter.close()

    assert collector.paths == ["/v1/traces"]


async def test_a_collector_that_hangs_does_not_keep_the_process(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.observe.observer.CLOSE_S", 0.1)
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        observer = Observer(Exporter(f"http://127.0.0.1:{hanging.getsockname()[1]}"))
        observer.observe(made())
        await observer.close()
        left = set(threading.enumerate()) - before

    assert [each.name for each in left if not each.daemon] == []
    assert "trace exporter" in {each.name for each in left}
    for each in left:  # it draws from `random` for its next try, which hypothesis blames on others
        each.join(30)


async def test_an_observer_sends_and_closes(collector: Collector, made: Made) -> None:
    observer = Observer(Exporter(collector.url))
    observer.observe(made())
    await observer.close()

    assert len(collector.spans()) == 4


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(MissingExtra, match=r"modgate\[otel\]"):
        Exporter("http://127.0.0.1:1")


def test_opentelemetry_is_not_imported_until_it_is_wanted() -> None:
    import subprocess

    code = "import sys, modgate.observe.observer; print([m for m in sys.modules if 'telem' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
