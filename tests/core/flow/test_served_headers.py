"""What a reply's headers tell of the time that went into it."""

from __future__ import annotations

from rigs.drafts import attempted, drafted

from modgate.api.sink import Step
from modgate.served_headers import covered_s, stage_headers


def test_time_that_two_calls_share_is_counted_once() -> None:
    assert covered_s([]) == 0.0
    assert covered_s([(0.5, 2.0), (0.0, 1.0), (0.6, 0.9), (4.0, 5.0)]) == 3.0


def test_stages_are_the_time_in_line_and_at_engines_until_now() -> None:
    draft = drafted(now=lambda: 3.0)

    assert stage_headers(draft) == {}
    draft.steps.append(Step(name="shape", began_s=0.0, ended_s=0.1))
    draft.tries.append(attempted(began_s=0.25, ended_s=0.75))
    assert stage_headers(draft) == {"x-modgate-upstream-ms": "500.0"}
    draft.steps.append(Step(name="queue", began_s=0.1, ended_s=0.25))
    draft.tries.append(attempted(began_s=2.0))
    assert stage_headers(draft) == {
        "x-modgate-queue-ms": "150.0",
        "x-modgate-upstream-ms": "1500.0",
    }
