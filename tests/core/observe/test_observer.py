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
from modgate.observe.observer import FRESH_AT_MOST, Observer, line_of
from modgate.units import UnitTable

Made = Callable[..., Receipt]


@pytest.fixture
def observer(table: UnitTable) -> Observer:
    made = Observer()
    made.recorder.use(table, {"acme"}, {"chat"})
    return made


async def test_a_receipt_becomes_metrics_and_one_log_line(observer: Observer, made: Made) -> None:
    stream = io.StringIO()
    logs = LogSystem("info", stream)
    observer.observe(made())
    logs.close()

    metrics = await observer.rendered()
    assert b'modgate_requests_total{tenant="acme",modality="llm",ending="ok"} 1' in metrics
    [line] = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["event"], line["level"], line["request_id"]) == (
        "request",
        "info",
        made().request_id,
    )


def test_a_request_line_says_which_try_of_its_sdk_it_was(made: Made) -> None:
    assert line_of(made(notes={"client_retry": "1"}))["client_retry"] == "1"
    assert "client_retry" not in line_of(made())


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


async def test_what_fails_in_observing_never_reaches_the_request(
    observer: Observer, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    observer.also(fail)
    with caplog.at_level(logging.ERROR):
        observer.observe(made())

    assert [record.message for record in caplog.records] == ["receipt"]
    metrics = await observer.rendered()
    assert b'modgate_units_total{tenant="acme",unit="llm.output_tokens"} 7' in metrics


async def test_a_receipt_that_cannot_be_counted_stops_no_other(
    observer: Observer, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for units in ({"llm.output_tokens": 7}, {"llm.output_tokens": "?"}) * 2:
            observer.observe(made(units=units))
        metrics = await observer.rendered()

    assert [record.message for record in caplog.records] == ["receipt"] * 2
    assert b'modgate_units_total{tenant="acme",unit="llm.output_tokens"} 14' in metrics


async def test_a_receipt_is_counted_by_the_snapshot_that_it_came_in(
    observer: Observer, made: Made, table: UnitTable
) -> None:
    observer.observe(made())
    observer.use(table, set(), set())
    observer.observe(made())
    metrics = await observer.rendered()

    for tenant in (b"acme", b"other"):
        line = b'modgate_requests_total{tenant="%s",modality="llm",ending="ok"} 1\n' % tenant
        assert line in metrics


def test_few_receipts_wait_to_be_counted(observer: Observer, made: Made) -> None:
    for _ in range(2 * FRESH_AT_MOST + 1):
        observer.observe(made())
    text = observer.registry.render()

    count = b'ending="ok"} %d\n' % (2 * FRESH_AT_MOST)
    assert count in text


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
    during = await observer.rendered()
    await observer.close()

    assert b'modgate_loop_lag_seconds_bucket{le="+Inf"}' in during
    assert asyncio.all_tasks() == before
