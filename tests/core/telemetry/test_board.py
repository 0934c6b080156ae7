from __future__ import annotations

import pytest

from modgate.api.vitals import UNKNOWN, Load, Signals
from modgate.telemetry.board import Board


@pytest.mark.parametrize(
    ("age_s", "weight"), [(0, 1), (4, 1), (7, 0.5), (9.4, 0.1), (10, 0), (1e6, 0)]
)
def test_a_reading_counts_whole_for_two_intervals_and_not_at_all_from_five(
    age_s: float, weight: float
) -> None:
    board = Board()
    board.note("e", Load(running=3), 100.0, 2.0)
    vitals = board.vitals("e", 100.0 + age_s)

    assert vitals.load_weight == pytest.approx(weight)
    assert (vitals.load is None) == (weight == 0)


def test_kinds_of_readings_age_apart_and_a_missing_one_is_unknown() -> None:
    board = Board()
    board.note("e", Load(waiting=0), 0.0, 1.0)
    board.note("e", Signals(temperature=50), 3.0, 1.0)
    board.note("e", False, 3.0, 5.0)
    vitals = board.vitals("e", 6.0)

    assert vitals.load is None
    assert vitals.signals == Signals(temperature=50)
    assert vitals.well is False
    assert board.vitals("other", 0.0) is UNKNOWN


def test_engines_that_are_gone_are_forgotten() -> None:
    board = Board()
    for each in ("a", "b"):
        board.note(each, True, 0.0, 1.0)
    board.keep(["b"])

    assert board.vitals("a", 0.0) is UNKNOWN
    assert board.vitals("b", 0.0).well


def test_what_is_told_by_the_way_fills_what_a_page_said_for_as_long_as_that_is_fresh() -> None:
    heard: list[object] = []
    board = Board(lambda identity, reading, now, every_s: heard.append(reading))
    board.note("e", Load(running=3, waiting=1, kv_use=0.2), 0.0, 1.0)
    board.remark("e", Load(kv_use=0.5), 1.5, 1.0)
    first = board.vitals("e", 1.5).load
    board.remark("e", Load(kv_use=0.6, waiting=4), 2.5, 1.0)

    assert first == Load(running=3, waiting=1, kv_use=0.5)
    assert board.vitals("e", 2.5).load == Load(waiting=4, kv_use=0.6)
    assert heard[1:] == [first, Load(waiting=4, kv_use=0.6)]
