"""What a gateway that shares its levels with nobody writes down of them, and goes on with."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import until

from modgate.limits.account import WORTH_MS, OwnAccount
from modgate.limits.kept_levels import KeptLevels
from modgate.limits.level_file import LevelFile
from modgate.limits.levels import WINDOW_KEPT_MS, Fill, Levels, Limit

GOLDEN = Path(__file__).parent / "golden"
NOW_MS = 4_102_444_800_000
SECOND = Limit(key="{acme}:s", kind="b", amount=7, period_ms=1000, burst=7)
HOUR = Limit(key="{acme}:h", kind="b", amount=600, period_ms=3_600_000, burst=600)
MONTH = Limit(key="{acme}:m", kind="w", amount=900, period_ms=NOW_MS + 1_000_000_000)
LIMITS = (SECOND, HOUR, MONTH)
ALL = [(each, 5) for each in LIMITS]


def again(own: OwnAccount, now_ms: int = NOW_MS) -> OwnAccount:
    """The levels after a restart, at once."""
    return OwnAccount.read(own.written(now_ms), now_ms)


def levels(own: Fill, now_ms: int = NOW_MS) -> Sequence[int]:
    return [own.level(limit, now_ms) for limit in (HOUR, MONTH)]


def test_what_matters_for_longer_than_a_minute_is_gone_on_with() -> None:
    own = OwnAccount()
    own.reserve(1, ALL, NOW_MS)
    own.settle(1, ALL, [5, 300, 300], NOW_MS)
    found = again(own)

    assert levels(found) == levels(own) == [300 * HOUR.period_ms, 300]
    assert found.level(SECOND, NOW_MS) == 0
    assert found.wait_ms(MONTH, 601, NOW_MS) == own.wait_ms(MONTH, 601, NOW_MS) > 0
    assert found.level(HOUR, NOW_MS + 600_000) == own.level(HOUR, NOW_MS + 600_000) > 0
    assert found.sizes()[1] == 0


def test_a_request_in_hand_is_charged_what_was_measured_of_it_last_else_its_reserve() -> None:
    own = OwnAccount()
    own.reserve("measured", [(HOUR, 100), (MONTH, 100)], NOW_MS)
    own.reserve("not yet", [(MONTH, 40)], NOW_MS)
    own.touch("measured", [7, 7])
    own.touch("measured", [9, 9])
    own.touch("settled", [1])
    found = again(own)

    assert levels(found) == [9 * HOUR.period_ms, 49]
    assert levels(own) == [100 * HOUR.period_ms, 140]  # it goes on as it was
    own.settle("measured", [(HOUR, 100), (MONTH, 100)], [20, 20], NOW_MS)
    own.settle("not yet", [(MONTH, 40)], [0], NOW_MS)
    assert levels(own) == levels(again(own)) == [20 * HOUR.period_ms, 20]


def test_of_a_request_that_is_larger_than_its_bucket_only_what_was_charged_goes_back() -> None:
    own = OwnAccount()
    own.reserve(1, [(HOUR, 5000)], NOW_MS)
    own.touch(1, [10])

    assert levels(again(own))[0] == 10 * HOUR.period_ms


@pytest.mark.parametrize("ahead_ms", [0, 5000, 900_000_000])
def test_a_clock_that_was_ahead_freezes_no_level(ahead_ms: int) -> None:
    own = OwnAccount()
    own.reserve(1, [(HOUR, 600), (MONTH, 5)], NOW_MS + ahead_ms)
    alone = OwnAccount.read(own.written(NOW_MS + ahead_ms), NOW_MS)
    owned = Levels.read(own.written(NOW_MS + ahead_ms), NOW_MS)

    for found in (alone, owned):
        assert levels(found) == [600 * HOUR.period_ms, 5]
        assert levels(found, NOW_MS + 1_800_000) == [300 * HOUR.period_ms, 5]
        found.charge(SECOND, 1, NOW_MS + HOUR.period_ms + 1001)
        assert found.sizes()[0] == 2  # the hour's is forgotten


@pytest.mark.parametrize("days", [-5, 5, 20_000])
def test_what_a_clock_wrote_that_was_set_or_slept_is_as_old_as_it_is(days: int) -> None:
    own, ahead_ms = OwnAccount(), days * 86_400_000
    began_ms = NOW_MS - ahead_ms  # what the levels count in knows nothing of it
    month = replace(MONTH, period_ms=MONTH.period_ms - ahead_ms)
    own.reserve(1, [(HOUR, 600), (month, 5)], began_ms)
    found = OwnAccount.read(own.written(began_ms, ahead_ms), NOW_MS)

    assert levels(found) == [600 * HOUR.period_ms, 5]
    assert levels(found, NOW_MS + 1_800_000) == [300 * HOUR.period_ms, 5]
    found.charge(SECOND, 1, MONTH.period_ms)
    assert levels(found, MONTH.period_ms) == [0, 5]
    found.charge(SECOND, 1, MONTH.period_ms + WINDOW_KEPT_MS)
    assert levels(found, MONTH.period_ms) == [0, 0]


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(min_value=0, max_value=900), min_size=2, max_size=2),
            st.integers(min_value=0, max_value=90_000),
        ),
        max_size=20,
    )
)
def test_a_restart_in_between_changes_no_level_that_matters(
    steps: list[tuple[list[int], int]],
) -> None:
    own, now_ms = OwnAccount(), NOW_MS
    for number, (counts, later_ms) in enumerate(steps):
        if own.reserve(number, ALL[1:], now_ms) is None:
            own.settle(number, ALL[1:], counts, now_ms)
        now_ms += later_ms
        before, own = own, again(own, now_ms)
        leaked_ms = now_ms + WORTH_MS  # by then what was not written down has leaked away
        assert levels(own, leaked_ms) == levels(before, leaked_ms)


async def test_it_is_written_when_it_closes_and_read_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "levels"
    first = LevelFile(path, lambda: NOW_MS)
    first.start()
    first.levels.charge(MONTH, 17, NOW_MS)
    await first.close()

    assert LevelFile(path, lambda: NOW_MS).levels.level(MONTH, NOW_MS) == 17
    assert path.stat().st_mode & 0o777 == 0o600


async def test_it_is_written_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgate.limits.kept_levels.WRITTEN_EVERY_S", 0.01)
    path = tmp_path / "levels"
    kept = LevelFile(path, lambda: NOW_MS)
    kept.levels.charge(MONTH, 3, NOW_MS)
    kept.start()
    await until(path.exists, 10)
    found = OwnAccount.read(path.read_bytes(), NOW_MS)
    await kept.close()

    assert found.level(MONTH, NOW_MS) == 3


async def test_where_nothing_is_limited_no_file_is_made(tmp_path: Path) -> None:
    kept = LevelFile(tmp_path / "levels", lambda: NOW_MS)
    kept.start()
    await kept.close()

    assert os.listdir(tmp_path) == []


async def test_what_could_not_be_written_is_written_as_soon_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("modgate.limits.kept_levels.WRITTEN_EVERY_S", 0.01)
    path = tmp_path / "nowhere" / "levels"
    kept = LevelFile(path, lambda: NOW_MS)
    kept.levels.charge(MONTH, 3, NOW_MS)
    kept.start()
    await until(lambda: caplog.records)
    path.parent.mkdir()
    await until(path.exists, 10)
    await kept.close()

    assert LevelFile(path, lambda: NOW_MS).levels.level(MONTH, NOW_MS) == 3


@pytest.mark.parametrize("data", [b"", b"\x93\x02\x80\x80", b"nonsense"])
def test_a_file_that_cannot_be_read_is_told_and_the_levels_begin_anew(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "levels").write_bytes(data)
    kept = LevelFile(tmp_path / "levels", lambda: NOW_MS)

    assert kept.levels.sizes() == (0, 0)
    assert [record.getMessage() for record in caplog.records] == ["limit levels not read"]


async def test_a_file_that_cannot_be_written_is_told_and_requests_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    kept = LevelFile(tmp_path / "nowhere" / "levels", lambda: NOW_MS)
    kept.levels.charge(MONTH, 3, NOW_MS)
    kept.start()
    await kept.close()

    assert [record.getMessage() for record in caplog.records] == ["limit levels not written"]
    assert kept.levels.level(MONTH, NOW_MS) == 3


def test_a_file_that_stays_unwritable_is_told_once_with_the_reason_and_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = tmp_path / "later"
    kept = KeptLevels(place / "levels")
    written = [kept.write(b"x"), kept.write(b"x")]
    place.mkdir()
    written += [kept.write(b"x"), kept.write(b"x")]

    assert written == [False, False, True, True]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["limit levels not written", "limit levels written again"]
    assert caplog.records[0].__dict__["reason"] == "No such file or directory"
    assert caplog.records[0].__dict__["file"] == str(place / "levels")


def test_the_levels_of_an_owner_are_read_by_a_gateway_alone() -> None:
    own = OwnAccount.read((GOLDEN / "levels-v1.msgpack").read_bytes(), NOW_MS)

    assert own.sizes()[0] > 0
    assert own.sizes()[1] == 0
