"""Histograms by OpenTelemetry's names.  Source: wire.md 9 (semconv 0.66b2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modgate.api.sink import Attempt, Receipt
from modgate.observe.metrics import Registry
from modgate.observe.recorder import Recorder
from modgate.observe.stale_series import KEPT_S
from modgate.units import UnitTable

Made = Callable[..., Receipt]
Tried = Callable[..., Attempt]
CHAT = 'gen_ai_operation_name="chat",gen_ai_provider_name="vllm",gen_ai_request_model="chat"'


class Told:
    """What a recorder has counted by these names."""

    def __init__(self, table: UnitTable) -> None:
        self.registry = Registry()
        self.recorder = Recorder(self.registry, gen_ai=True)
        self.recorder.use(table, {"acme"}, {"chat"})

    @property
    def lines(self) -> set[str]:
        text = self.registry.render().decode()
        return {line for line in text.splitlines() if line.startswith("gen_ai_")}


@pytest.fixture
def told(table: UnitTable) -> Told:
    return Told(table)


def test_a_request_is_counted_by_operation_family_of_engine_and_model(
    told: Told, made: Made
) -> None:
    told.recorder.observe(made(units={"llm.input_tokens": 100, "llm.output_tokens": 7}))

    assert {
        f'gen_ai_server_request_duration_seconds_sum{{{CHAT},error_type=""}} 1.5',
        f'gen_ai_server_request_duration_seconds_bucket{{{CHAT},error_type="",le="1.28"}} 0',
        f'gen_ai_server_request_duration_seconds_bucket{{{CHAT},error_type="",le="2.56"}} 1',
        f'gen_ai_client_operation_duration_seconds_sum{{{CHAT},error_type=""}} 1',
        f'gen_ai_client_token_usage_sum{{{CHAT},gen_ai_token_type="input"}} 100',
        f'gen_ai_client_token_usage_bucket{{{CHAT},gen_ai_token_type="input",le="64"}} 0',
        f'gen_ai_client_token_usage_bucket{{{CHAT},gen_ai_token_type="input",le="256"}} 1',
        f'gen_ai_client_token_usage_sum{{{CHAT},gen_ai_token_type="output"}} 7',
    } <= told.lines
    assert not any("time_to_first" in line or "per_output" in line for line in told.lines)


def test_a_stream_has_a_first_token_and_a_pace(told: Told, made: Made, tried: Tried) -> None:
    units = {"llm.output_tokens": 8}
    told.recorder.observe(made(stream=True, units=units, attempts=(tried(ended_s=1.9),)))
    told.recorder.observe(made(stream=True, units={"llm.output_tokens": 1}))

    assert {
        f"gen_ai_server_time_to_first_token_seconds_sum{{{CHAT}}} 1.2",
        f"gen_ai_client_operation_time_to_first_chunk_seconds_sum{{{CHAT}}} 0.6",
        f"gen_ai_server_time_per_output_token_seconds_count{{{CHAT}}} 1",
        f'gen_ai_server_time_per_output_token_seconds_bucket{{{CHAT},le="0.15"}} 0',
        f'gen_ai_server_time_per_output_token_seconds_bucket{{{CHAT},le="0.2"}} 1',
    } <= told.lines


def test_what_failed_says_why_and_has_no_tokens(told: Told, made: Made, tried: Tried) -> None:
    failed = tried(state="failed", error="upstream_error")
    told.recorder.observe(
        made(ending="upstream_failed", error="upstream_error", attempts=(failed,), stream=True)
    )

    error = 'error_type="upstream_error"'
    assert f"gen_ai_client_operation_duration_seconds_count{{{CHAT},{error}}} 1" in told.lines
    assert f"gen_ai_server_request_duration_seconds_count{{{CHAT},{error}}} 1" in told.lines
    assert not any("token_usage" in line or "per_output" in line for line in told.lines)


def test_what_reached_no_engine_is_not_counted_and_a_side_call_is_a_call_only(
    told: Told, made: Made, tried: Tried
) -> None:
    told.recorder.observe(made(attempts=()))
    assert not told.lines - {line for line in told.lines if line.startswith("#")}

    told.recorder.observe(made(attempts=(tried(call=-1),)))
    assert {line.partition("{")[0] for line in told.lines} == {
        f"gen_ai_client_operation_duration_seconds_{part}" for part in ("bucket", "sum", "count")
    }


def test_junk_mints_no_series_and_a_model_that_is_gone_is_forgotten(
    told: Told, made: Made, tried: Tried, table: UnitTable
) -> None:
    told.recorder.observe(made(attempts=(tried(model="junk"),)))
    assert all('gen_ai_request_model="other"' in line for line in told.lines)

    told.recorder.observe(made())
    told.recorder.use(table, {"acme"}, {"small"})
    told.recorder.forget_departed(0.0)
    told.recorder.forget_departed(KEPT_S)
    assert not any('gen_ai_request_model="chat"' in line for line in told.lines)
    assert told.lines


def test_without_the_key_there_are_none(table: UnitTable, made: Made) -> None:
    registry = Registry()
    recorder = Recorder(registry)
    recorder.use(table, {"acme"}, {"chat"})
    recorder.observe(made())

    assert b"gen_ai" not in registry.render()
