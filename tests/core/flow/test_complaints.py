"""Which steps of plugins are told of, and how often."""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from rigs.drafts import drafted

from modgate.complaints import AGAIN_S, SLOW_S, Complaints
from modgate.needs import drive

DRAFT = drafted()
GATEWAY: Any = SimpleNamespace(whose=lambda cause, draft: "words (acme 1)")
SOON, LATER = AGAIN_S / 2, AGAIN_S + 1


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([("shape", 0.0, SLOW_S)], []),
        ([("shape", 0.0, SLOW_S + 0.001)], ["shape"]),
        ([("feed", 0.0, 1.0), ("feed", SOON, 2.0), ("feed", LATER, 1.0)], ["feed", "feed"]),
        ([("feed", 0.0, 1.0), ("close", 1.0, 2.0)], ["feed", "close"]),
    ],
)
def test_a_step_that_kept_the_loop_is_told_once_a_minute(
    caplog: pytest.LogCaptureFixture, steps: list[tuple[str, float, float]], told: list[str]
) -> None:
    times = iter([began + took for _, began, took in steps])
    complaints = Complaints(timer=lambda: next(times))
    for step, began, _ in steps:
        complaints.step_ended(GATEWAY, DRAFT, step, began)

    said = [vars(record) for record in caplog.records]
    assert [each["step"] for each in said] == told
    assert {each["plugin"] for each in said} <= {"words (acme 1)"}


async def test_what_is_waited_for_is_no_part_of_a_step() -> None:
    """A generator is told of up to its Need, and from the answer on."""
    answered_at: list[float] = []
    begun: list[float] = []

    def steps() -> Generator[str, str, str]:
        return (yield "a need")

    async def answered(need: str) -> str:
        answered_at.append(perf_counter())
        return need

    assert await drive(steps(), answered, begun.append) == "a need"
    [first, second] = begun
    assert first <= answered_at[0] <= second
