"""When engine and gateway are said to differ."""

from __future__ import annotations

import pytest

from modgate.observe.differences import count_differences
from modgate.units import Unit, UnitTable

TABLE = UnitTable.of(
    {
        "asr": (Unit("audio_ms", "audio", shown="audio_seconds", scale=1000),),
        "llm": (Unit("output_tokens", "tokens"),),
    }
)


@pytest.mark.parametrize(
    ("billed", "other", "told"),
    [
        (100_000, 106_000, "asr.audio_seconds 100 against 106"),
        (106_000, 100_000, "asr.audio_seconds 106 against 100"),
        (100_000, 105_000, ""),  # 4.8 % of the larger
        (300, 1000, ""),  # a second, rounded up
        (300, 1301, "asr.audio_seconds 0.3 against 1.301"),
    ],
)
def test_audio_differs_by_more_than_a_twentieth_and_more_than_a_second(
    billed: int, other: int, told: str
) -> None:
    assert count_differences({"asr.audio_ms": billed}, {"audio_ms": other}, "asr", TABLE) == told


@pytest.mark.parametrize(("other", "told"), [(10, ""), (11, "llm.output_tokens 9 against 11")])
def test_a_single_token_is_no_difference(other: int, told: str) -> None:
    assert (
        count_differences({"llm.output_tokens": 9}, {"output_tokens": other}, "llm", TABLE) == told
    )


def test_what_nobody_counted_twice_differs_in_nothing() -> None:
    billed = {"llm.output_tokens": 9, "llm.requests": 1}

    assert count_differences(billed, {}, "llm", TABLE) == ""
    assert count_differences(billed, {"unheard_of": 5}, "llm", TABLE) == ""
