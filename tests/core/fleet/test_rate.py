from __future__ import annotations

import pytest

from modgate.fleet.rate import WorkRate


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
