from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from modgate.api.sink import Attempt, Receipt, Ruling, Step
from modgate.observe.metrics import CODES_AT_MOST, Registry
from modgate.observe.recorder import Recorder
from modgate.units import UnitTable

Made = Callable[..., Receipt]
Tried = Callable[..., Attempt]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def recorder(registry: Registry, table: UnitTable) -> Recorder:
    made = Recorder(registry)
    made.use(table, {"acme"}, {"chat", "whisper", "embed"})
    return made


def lines(registry: Registry) -> set[str]:
    """What was counted, without comments."""
    text = registry.render().decode()
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def test_a_request_is_counted_by_tenant_modality_and_ending(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    for ending in ("ok", "ok", "client_gone"):
        recorder.observe(made(ending=ending))

    front = 'modgate_requests_total{tenant="acme",modality="llm",ending='
    assert {f'{front}"ok"}} 2', f'{front}"client_gone"}} 1'} <= lines(registry)


def test_units_are_counted_under_the_name_and_in_the_size_that_is_shown(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    for ms in (1500, 10_845):
        recorder.observe(made(modality="asr", model="whisper", units={"asr.audio_ms": ms}))

    wanted = 'modgate_units_total{tenant="acme",unit="asr.audio_seconds"} 12.345'
    assert wanted in lines(registry)


def test_units_of_several_modalities_in_one_receipt_are_all_counted(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    recorder.observe(made(units={"llm.input_tokens": 5, "asr.requests": 2}))

    front = 'modgate_units_total{tenant="acme",unit='
    assert {f'{front}"llm.input_tokens"}} 5', f'{front}"asr.requests"}} 2'} <= lines(registry)


def test_tens_of_millions_of_tokens_are_counted_to_the_last(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    recorder.observe(made(units={"llm.input_tokens": 123_456_789}))
    recorder.observe(made(units={"llm.input_tokens": 1}))

    wanted = 'modgate_units_total{tenant="acme",unit="llm.input_tokens"} 123456790'
    assert wanted in lines(registry)


def test_the_first_byte_of_what_is_streamed_is_a_histogram_by_model(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    for stream, first_byte_s in ((True, 0.2), (True, None), (False, 0.2)):
        recorder.observe(made(stream=stream, first_byte_s=first_byte_s))

    front = "modgate_request_first_byte_seconds"
    found = {line for line in lines(registry) if line.startswith(front)}
    assert f'{front}_bucket{{model="chat",le="0.1"}} 0' in found
    assert f'{front}_bucket{{model="chat",le="0.3"}} 1' in found
    assert f'{front}_count{{model="chat"}} 1' in found


def test_names_that_clients_make_up_mint_no_series(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    recorder.observe(made(tenant="t", model="m", units={"u.v": 1}))
    before = len(lines(registry))
    for n in range(100):
        recorder.observe(made(tenant=f"t{n}", model=f"m{n}", units={f"u{n}.v": 1}))

    assert len(lines(registry)) == before
    assert 'modgate_requests_total{tenant="other",modality="llm",ending="ok"} 101' in lines(
        registry
    )


def test_a_refusal_is_counted_by_its_code(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    recorder.observe(made(ending="refused", status=429, error="rate_limit_exceeded"))
    recorder.observe(made(ending="upstream_failed", status=502, error="upstream_error"))

    front = "modgate_refusals_total{"
    assert [line for line in lines(registry) if line.startswith(front)] == [
        f'{front}tenant="acme",code="rate_limit_exceeded"}} 1'
    ]


def test_an_attempt_is_measured_from_its_own_start_and_under_its_own_model(
    recorder: Recorder, registry: Registry, made: Made, tried: Callable[..., Attempt]
) -> None:
    side_call = tried(model="embed", backend="eu-2", began_s=10.0, first_s=10.25)
    recorder.observe(made(attempts=(side_call,)))

    series = 'modgate_attempt_first_event_seconds_sum{backend="eu-2",model="embed"} 0.25'
    assert series in lines(registry)


def test_an_attempt_without_a_first_event_is_only_counted(
    recorder: Recorder, registry: Registry, made: Made, tried: Callable[..., Attempt]
) -> None:
    recorder.observe(made(attempts=(tried(first_s=None, state="cancelled"),)))

    assert 'modgate_attempts_total{backend="eu-1",state="cancelled"} 1' in lines(registry)
    assert not any("first_event_seconds_count" in line for line in lines(registry))


def test_a_reload_keeps_what_was_counted(
    recorder: Recorder, registry: Registry, made: Made, table: UnitTable
) -> None:
    recorder.observe(made())
    recorder.use(table, {"acme", "new"}, {"chat"})
    recorder.observe(made())

    wanted = 'modgate_units_total{tenant="acme",unit="llm.input_tokens"} 200'
    assert wanted in lines(registry)


def test_a_shared_trip_is_counted_once_with_its_calls_and_each_wait_by_itself(
    recorder: Recorder, registry: Registry, made: Made, tried: Callable[..., Attempt]
) -> None:
    for members in (3, 0, 0):
        wait = Step(name="queue", began_s=0.5, ended_s=0.75)
        attempt = tried(model="embed", members=members)
        recorder.observe(made(attempts=(attempt,), steps=(wait,)))

    assert 'modgate_trip_calls_sum{model="embed"} 3' in lines(registry)
    assert 'modgate_trip_calls_count{model="embed"} 1' in lines(registry)
    assert any(re.match(r"modgate_queue_seconds_count\{.*\} 3$", each) for each in lines(registry))


def test_policies_are_counted_by_what_they_decided_and_how_long_it_took(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    allowed = Ruling(policy="guard", verdict="allow", seconds=0.02)
    late = Ruling(
        policy="guard", verdict="failed_open", seconds=3.0, code="budget", late=True, shadow=True
    )
    recorder.observe(made(rulings=(allowed, late)))

    decisions = 'modgate_policy_decisions_total{policy="guard",decision='
    assert {
        f'{decisions}"allow",shadow="false"}} 1',
        f'{decisions}"failed_open",shadow="true"}} 1',
        'modgate_policy_overruns_total{policy="guard"} 1',
        'modgate_policy_duration_seconds_bucket{policy="guard",le="0.1"} 1',
        'modgate_policy_duration_seconds_count{policy="guard"} 2',
    } <= lines(registry)


def test_who_is_gone_leaves_the_metrics_after_ten_minutes_and_who_comes_back_does_not(
    recorder: Recorder, registry: Registry, table: UnitTable, made: Made
) -> None:
    recorder.use(table, {"acme", "brief", "back"}, {"chat", "old"})
    for tenant in ("acme", "brief", "back"):
        recorder.observe(made(tenant=tenant, units={"llm.input_tokens": 5}, error="x", status=400))
    recorder.observe(made(tenant="stranger", model="old"))

    recorder.use(table, {"acme", "back"}, {"chat"})
    recorder.forget_departed(0.0)
    recorder.use(table, {"acme"}, {"chat"})
    recorder.forget_departed(100.0)
    assert {"brief", "old"} <= labelled(registry)
    recorder.use(table, {"acme", "back"}, {"chat"})
    recorder.forget_departed(600.0)
    recorder.forget_departed(701.0)

    assert labelled(registry) >= {"acme", "back", "other", "chat"}
    assert not labelled(registry) & {"brief", "old"}


def labelled(registry: Registry) -> set[str]:
    """Every value of a label."""
    return {value for line in lines(registry) for value in re.findall(r'"([^"]*)"', line)}


def test_codes_that_engines_make_up_make_no_series_without_end(
    registry: Registry, table: UnitTable, made: Made, tried: Tried
) -> None:
    recorder = Recorder(registry, gen_ai=True)
    recorder.use(table, {"acme"}, {"chat"})
    for n in range(10 * CODES_AT_MOST):
        code = f"code_{n}"
        attempts = (tried(state="refused", error=code),)
        recorder.observe(made(ending="refused", status=400, error=code, attempts=attempts))

    for metric in ("modgate_refusals_total", "gen_ai_server_request_duration_seconds_count"):
        counts = [line.rpartition(" ")[2] for line in lines(registry) if line.startswith(metric)]
        assert len(counts) == CODES_AT_MOST + 1
        assert sum(map(float, counts)) == 10 * CODES_AT_MOST


def test_what_was_used_of_what_was_reserved_is_counted_by_model_and_unit(
    recorder: Recorder, registry: Registry, made: Made
) -> None:
    reserved = {"llm.input_tokens": 80, "llm.output_tokens": 100, "junk.units": 5}
    recorder.observe(made(reserved=reserved))  # 100 of 80, 7 of 100
    for ending, exact in (("client_gone", False), ("ok", False), ("timed_out", True)):
        recorder.observe(made(reserved=reserved, ending=ending, exact=exact))
    recorder.observe(made(reserved=reserved, units={}, admitted=False))  # a dry run
    recorder.observe(made(reserved={"llm.input_tokens": 0}))

    front = 'modgate_used_of_reserved_ratio_{}{{model="chat",unit="llm.{}_tokens"{}}} {}'
    told = {line for line in lines(registry) if "used_of_reserved" in line}
    assert {
        front.format("count", "input", "", 1),
        front.format("sum", "input", "", 1.25),
        front.format("bucket", "input", ',le="1.1"', 0),
        front.format("bucket", "input", ',le="1.5"', 1),
        front.format("sum", "output", "", 0.07),
        front.format("bucket", "output", ',le="0.1"', 1),
    } <= told
    assert not any("junk" in line for line in told)
