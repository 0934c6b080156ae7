"""Durations, sizes, rates and secrets, as operators write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.secret import referenced
from modgate.config.values import duration, rate, size

calm = settings(derandomize=True, deadline=None, max_examples=200)

DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20}
PERIODS = {"s": "second", "min": "minute", "hour": "hour", "h": "hour", "day": "day"}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("250us", 0.00025),
        ("5m", 300),
        ("5min", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (" 2 ms ", 0.002),
        ("1d", 86_400),
        (7, 7),
        (0, 0),
    ],
)
def test_a_duration_is_read_in_seconds(written: str | int, seconds: float) -> None:
    assert duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    ["", "30", "s", "30 parsecs", "-3s", "1h-3m", "1h 30", "٣s", True, -1, None, [], {}, "1e3s"],
)
def test_what_is_no_duration_is_told_how_one_reads(written: object) -> None:
    with pytest.raises(ValueError, match='a duration reads "30s"'):
        duration(written)


@pytest.mark.parametrize("written", [float("inf"), float("nan"), "9" * 400 + "s"])
def test_a_duration_without_an_end_is_none(written: float | str) -> None:
    with pytest.raises(ValueError, match=r"a duration (reads|is a century)"):
        duration(written)


@pytest.mark.parametrize("written", ["36526d", "99999999999999d", 10**20])
def test_a_duration_that_leaves_the_calendar_is_none(written: int | str) -> None:
    with pytest.raises(ValueError, match="a duration is a century"):
        duration(written)


@calm
@given(st.integers(0, 36_525), st.sampled_from(sorted(DURATION_UNITS)))
def test_every_whole_duration_is_read_back(count: int, unit: str) -> None:
    assert duration(f"{count}{unit}") == pytest.approx(count * DURATION_UNITS[unit])


@calm
@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from("dhms")), min_size=1, max_size=4))
def test_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    written = "".join(f"{count}{unit}" for count, unit in parts)

    total = sum(count * DURATION_UNITS[unit] for count, unit in parts)

    assert duration(written) == pytest.approx(total)


@pytest.mark.parametrize(
    ("written", "count"),
    [("10MiB", 10 << 20), ("1GB", 10**9), ("1.5KiB", 1536), ("7", 7), (4096, 4096), (0, 0)],
)
def test_a_size_is_read_in_bytes(written: str | int, count: int) -> None:
    assert size(written) == count


@pytest.mark.parametrize(
    "written", ["", "MiB", "10 mib", "-1B", "1e3", True, -1, 1.5, None, "9" * 400 + "GB"]
)
def test_what_is_no_size_is_told_how_one_reads(written: object) -> None:
    with pytest.raises(ValueError, match='a size reads "10MiB"'):
        size(written)


@calm
@given(st.integers(0, 10**5), st.sampled_from(sorted(SIZE_UNITS)))
def test_every_whole_size_is_read_back(count: int, unit: str) -> None:
    assert size(f"{count}{unit}") == count * SIZE_UNITS[unit]


@pytest.mark.parametrize(
    ("written", "amount", "period"),
    [
        ("50/s", 50, "second"),
        ("200k/min", 200_000, "minute"),
        ("36000/hour", 36_000, "hour"),
        ("1M/day", 10**6, "day"),
        ("5G/month", 5 * 10**9, "month"),
        ("0.5/s", 0.5, "second"),
        ("3 / h", 3, "hour"),
    ],
)
def test_a_rate_is_an_amount_in_a_period(written: str, amount: float, period: str) -> None:
    found = rate(written)

    assert (found.amount, found.period) == (amount, period)


@pytest.mark.parametrize(
    "written", ["", "50", "/s", "50/", "50/week", "-5/s", "5K/s", 50, None, True, "9" * 400 + "/s"]
)
def test_what_is_no_rate_is_told_how_one_reads(written: object) -> None:
    with pytest.raises(ValueError, match='a rate reads "50/s"'):
        rate(written)


@pytest.mark.parametrize("written", ["0/s", "0k/day", "0.0/min"])
def test_a_rate_of_nothing_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        rate(written)


@calm
@given(st.integers(1, 10**6), st.sampled_from(["", "k", "M"]), st.sampled_from(sorted(PERIODS)))
def test_every_whole_rate_is_read_back(count: int, times: str, period: str) -> None:
    found = rate(f"{count}{times}/{period}")

    assert found.amount == count * {"": 1, "k": 10**3, "M": 10**6}[times]
    assert found.period == PERIODS[period]


@calm
@given(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none()))
def test_a_value_that_cannot_be_read_is_a_value_error(written: object) -> None:
    for read in (duration, size, rate, referenced):
        try:
            read(written)
        except ValueError:
            continue


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODGATE_TEST_PEPPER", "hidden")

    assert referenced({"env": "MODGATE_TEST_PEPPER"}).reveal() == "hidden"


def test_a_secret_comes_from_a_file_without_the_newline(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("hidden\n")

    assert referenced({"file": str(tmp_path / "pepper")}).reveal() == "hidden"


@pytest.mark.parametrize(
    "written", ["hunter2", {"env": "A", "file": "b"}, {}, {"evn": "A"}, {"env": 3}, 7, None]
)
def test_a_secret_in_clear_is_told_how_to_be_given_and_is_not_repeated(written: object) -> None:
    with pytest.raises(ValueError, match="by reference: ") as caught:
        referenced(written)

    assert "hunter2" not in str(caught.value)


def test_an_environment_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ValueError, match="the environment variable MODGATE_NOT_SET is not set"):
        referenced({"env": "MODGATE_NOT_SET"})


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere cannot be read: No such file"):
        referenced({"file": str(tmp_path / "nowhere")})


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_secret_is_none(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pepper").write_text(text)
    monkeypatch.setenv("MODGATE_TEST_BLANK", text)

    with pytest.raises(ValueError, match="is empty"):
        referenced({"file": str(tmp_path / "pepper")})
    with pytest.raises(ValueError, match="is not set"):
        referenced({"env": "MODGATE_TEST_BLANK"})


def test_a_secret_file_that_is_no_text_shows_no_byte_of_it(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_bytes(b"\xfe\xffhidden")

    with pytest.raises(ValueError, match="is not text") as caught:
        referenced({"file": str(tmp_path / "pepper")})

    assert "0xfe" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "size_bytes"), [("64.1GB", 64_100_000_000), ("4.35GB", 4_350_000_000), ("0.5B", 0)]
)
def test_a_size_with_a_fraction_is_exact(written: str, size_bytes: int) -> None:
    assert size(written) == size_bytes


@pytest.mark.parametrize(
    ("written", "seconds"), [("35ms", 0.035), ("0.1s200ms", 0.3), ("1m0.7s", 60.7), ("3us", 3e-6)]
)
def test_a_duration_is_the_nearest_number_to_what_is_written(written: str, seconds: float) -> None:
    assert duration(written) == seconds


def test_a_rate_with_a_fraction_is_exact() -> None:
    assert rate("64.1k/min").amount == 64_100
    assert rate("64.1G/month").amount == 64_100_000_000
