"""What a reply's headers tell of the time that went into it."""

from __future__ import annotations

from modgate.api.sink import Step
from modgate.draft import Draft
from modgate.observe.tracing import Trace
from modgate.served_headers import covered_s, stage_headers
from modgate.tries import Try


def at_an_engine(began_s: float, ended_s: float | None) -> Try:
    return Try(
        call=0,
        backend="b",
        region="",
        family="home",
        model="m",
        span="5a",
        now=lambda: 0.0,
        zero=0.0,
        began_s=began_s,
        ended_s=ended_s,
    )


def test_time_that_two_calls_share_is_counted_once() -> None:
    assert covered_s([]) == 0.0
    assert covered_s([(0.5, 2.0), (0.0, 1.0), (0.6, 0.9), (4.0, 5.0)]) == 3.0


def test_stages_are_the_time_in_line_and_at_engines_until_now() -> None:
    trace = Trace(trace_id="7e", span_id="5b")
    draft = Draft(request_id="r", trace=trace, now=lambda: 3.0, began=0.0, wall=0.0)

    assert stage_headers(draft) == {}
    draft.steps.append(Step(name="shape", began_s=0.0, ended_s=0.1))
    draft.tries.append(at_an_engine(0.25, 0.75))
    assert stage_headers(draft) == {"x-modgate-upstream-ms": "500.0"}
    draft.steps.append(Step(name="queue", began_s=0.1, ended_s=0.25))
    draft.tries.append(at_an_engine(2.0, None))
    assert stage_headers(draft) == {
        "x-modgate-queue-ms": "150.0",
        "x-modgate-upstream-ms": "1500.0",
    }
