from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.units import Unit, Units, UnitTable

counts = st.dictionaries(st.sampled_from("abc"), st.integers(0, 1 << 60), max_size=3)


@settings(derandomize=True, deadline=None)
@given(a=counts, b=counts)
def test_units_add_and_compare_per_name(a: dict[str, int], b: dict[str, int]) -> None:
    whole = Units(a) + Units(b)
    most = Units(a).most(Units(b))

    assert all(whole[name] == a.get(name, 0) + b.get(name, 0) for name in whole)
    assert all(most[name] == max(a.get(name, 0), b.get(name, 0)) for name in most)
    assert not whole.beyond(whole)


@pytest.mark.parametrize("count", [-1, 1.5, True, "3"])
def test_a_count_is_a_whole_number_of_at_least_0(count: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Units({"a": count})  # type: ignore[dict-item]  # that is the point


def test_a_scaled_unit_is_shown_in_its_own_form() -> None:
    unit = Unit("audio_ms", "audio", shown="audio_seconds", scale=1000)
    table = UnitTable.of({"asr": (unit,)})

    assert unit.outside(12_345) == "12.345"
    assert unit.inside(0.0005) == 1
    assert table.public("asr.audio_ms") == "asr.audio_seconds"
    assert table.resolve("asr.audio_seconds") == ["asr.audio_ms"]
    assert table.resolve("*.requests") == ["asr.requests"]


def test_a_sum_is_shown_to_its_last_digit() -> None:
    assert Unit("bytes_out", "bytes").outside(2**60 + 1) == "1152921504606846977"


def test_a_small_amount_of_a_fine_unit_is_not_shown_as_nothing() -> None:
    money = Unit("micro", "millionths of a currency", shown="cost", scale=1_000_000)

    assert [money.outside(count) for count in (0, 100, 500_000, 1_234_567)] == [
        "0",
        "0.0001",
        "0.5",
        "1.234567",
    ]


def test_units_are_bound_by_the_core() -> None:
    assert Units(pages=3).of("ocr").full() == {"ocr.pages": 3}


def test_units_by_full_name_are_units_again() -> None:
    named = Units(pages=3, bytes_in=0).named("ocr")

    assert named == {"ocr.pages": 3, "ocr.bytes_in": 0}
    assert list(named.values()) == [3, 0]
    assert named.modality == ""
