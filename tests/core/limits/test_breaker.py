"""When nobody waits for the store of limits any more.  Source: algorithms.md 3.4; RFD 54."""

from __future__ import annotations

from modgate.limits.breaker import Breaker


def test_all_wait_for_a_store_that_answers_ten_for_one_that_failed_and_nobody_when_it_is_down() -> (
    None
):
    assert not Breaker(waits=1000).crowded
    assert [Breaker(failures=1, waits=waits).crowded for waits in (9, 10)] == [False, True]
    breaker = Breaker()
    opened = []
    for _ in range(5):
        breaker.failed("silent")
        opened.append(breaker.crowded)

    assert opened == [False] * 4 + [True]
