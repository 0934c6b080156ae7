from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable

import pytest

from modgate.api.sink import Attempt, Receipt
from modgate.observe import observer as module
from modgate.observe.logs import LogSystem
from modgate.observe.observer import Observer, line_of
from modgate.units import UnitTable

Made = Callable[..., Receipt]


@pytest.fixture
def observer(table: UnitTable) -> Observer:
    made = Observer()
    made.recorder.use(table, {"acme"}, {"chat"})
    return made


def test_a_receipt_becomes_metrics_and_one_log_line(observer: Observer, made: Made) -> None:
    stream = io.StringIO()
    logs = LogSystem("info", stream)
    observer.observe(made())
    logs.close()

    assert (
        b'modgate_requests_total{tenant="acme",modality="llm",ending="ok"} 1' in observer.render()
    )
    [line] = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["event"], line["level"], line["request_id"]) == (
        "request",
        "info",
        made().request_id,
    )


def test_a_request_line_is_its_receipt(made: Made) -> None:
    line = line_of(made(client_request_id="c-1"))

    assert "error" not in line
    assert {name: line[name] for name in ("tenant", "route", "model", "ending", "status")} == {
        "tenant": "acme",
        "route": "/v1/chat/completions",
        "model": "chat",
        "ending": "ok",
        "status": 200,
    }
    assert line["trace_id"] == "a" * 32
    assert line["client_request_id"] == "c-1"
    assert line["duration_ms"] == 1500.0
    assert line["units"] == {"llm.requests": 1, "llm.input_tokens": 100, "llm.output_tokens": 7}
    assert line["attempts"] == [{"backend": "eu-1", "state": "ok", "status": 200}]


def test_a_receipt_of_many_attempts_makes_a_line_of_bounded_length(
    made: Made, tried: Callable[..., Attempt]
) -> None:
    attempts = tuple(tried(call=n) for n in range(4096))

    assert len(line_of(made(attempts=attempts, error="upstream_error"))["attempts"]) == 8


def fail(receipt: Receipt) -> None:
    raise RuntimeError(receipt.ending)


def test_what_fails_in_observing_never_reaches_the_request(
    observer: Observer, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    observer.also(fail)
    with caplog.at_level(logging.ERROR):
        observer.observe(made())

    assert [record.message for record in caplog.records] == ["receipt"]
    assert b'modgate_units_total{tenant="acme",unit="llm.output_tokens"} 7' in observer.render()


def test_every_receipt_reaches_who_asked_for_it(observer: Observer, made: Made) -> None:
    seen: list[Receipt] = []
    observer.also(seen.append)
    given = made()
    observer.observe(given)

    assert seen == [given]


async def test_it_measures_the_loop_until_it_is_closed(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAG_EVERY_S", 0.0)
    before = asyncio.all_tasks()
    observer.start()
    for _ in range(5):
        await asyncio.sleep(0)
    during = observer.render()
    await observer.close()

    assert b'modgate_loop_lag_seconds_bucket{le="+Inf"}' in during
    assert asyncio.all_tasks() == before
