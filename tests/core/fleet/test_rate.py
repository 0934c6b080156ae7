from __future__ import annotations

import pytest

from modgate.fleet.rate import Service, WorkRate


def test_work_a_second_is_known_after_a_second_of_work_however_small_its_pieces() -> None:
    rate = WorkRate()
    rate.start(5.0)
    for eighth in range(1, 8):
        rate.did(5.0 + eighth / 8, 1.0)
    assert rate.value == 0.0
    rate.did(6.0, 1.0)

    assert rate.value == pytest.approx(8.0)


def test_only_time_counts_in_which_there_was_something_to_do() -> None:
    rate = WorkRate()
    rate.start(0.0)
    rate.did(1.0, 20.0)
    rate.stop(2.0)
    rate.did(50.0, 1000.0)
    rate.start(100.0)
    rate.did(101.0, 20.0)

    assert rate.value == pytest.approx(40.0 / 3)


def test_what_a_call_takes_is_a_line_through_what_calls_of_other_sizes_took() -> None:
    service = Service()
    assert service.seconds(1.0) == 0.0
    for work in (4.0, 1.0, 3.0, 2.0):
        service.took(work, 0.5 + 0.1 * work)

    assert service.seconds(2.5) == pytest.approx(0.75)
    assert service.seconds(10.0) == pytest.approx(1.5)


def test_while_all_calls_are_of_one_size_a_smaller_one_needs_less_and_a_larger_one_no_more() -> (
    None
):
    service = Service()
    for _ in range(3):
        service.took(4.0, 2.0)

    assert [service.seconds(work) for work in (1.0, 4.0, 40.0)] == [0.5, 2.0, 2.0]


def test_what_calls_take_neither_falls_with_their_work_nor_begins_below_nothing() -> None:
    falling, steep = Service(), Service()
    for work, falls, rises in ((1.0, 3.0, 0.1), (2.0, 2.0, 2.1), (3.0, 1.0, 4.1)):
        falling.took(work, falls)
        steep.took(work, rises)

    assert falling.seconds(100.0) == pytest.approx(2.0)
    assert steep.seconds(0.0) == pytest.approx(0.0)


def test_of_many_calls_the_late_ones_count_for_more() -> None:
    service = Service()
    for each in range(200):
        service.took(1.0, 1.0 if each < 100 else 2.0)

    assert service.seconds(1.0) == pytest.approx(2 - 0.98**100)
