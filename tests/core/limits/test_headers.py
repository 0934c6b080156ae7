from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.limits.headers import RateView, anthropic_headers, go_duration, headers, rfc_3339

# What the SDKs read a duration with (wire.md B1).
PARSER = re.compile(r"^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (1, "1ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (8640, "8.64s"),
        (59_951, "59.951s"),
        (60_000, "1m0s"),
        (61_500, "1m1.5s"),
        (360_000, "6m0s"),
        (3_600_000, "1h0m0s"),
        (3_723_000, "1h2m3s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(ms: int, text: str) -> None:
    assert go_duration(ms) == text


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(min_value=0, max_value=3_000_000_000))
def test_a_duration_reads_back_as_what_was_written(ms: int) -> None:
    found = PARSER.match(go_duration(ms))

    assert found is not None
    hours, minutes, whole, rest = (float(part or 0) for part in found.groups())
    assert round(hours * 3_600_000 + minutes * 60_000 + whole * 1000 + rest) == ms


def view(unit: str, limit: int, remaining: int, reset_ms: int = 1000) -> RateView:
    return RateView(unit=unit, limit=limit, remaining=remaining, reset_ms=reset_ms)


def test_each_limit_has_three_headers() -> None:
    assert headers([view("requests", 50, 49, 20)]) == {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "49",
        "x-ratelimit-reset-requests": "20ms",
    }


def test_a_unit_of_two_words_is_written_with_a_hyphen() -> None:
    found = headers([view("audio_seconds", 36_000, 35_990)])

    assert found["x-ratelimit-remaining-audio-seconds"] == "35990"


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_limits_on_one_unit_the_tightest_is_shown(turn: int) -> None:
    views = [view("requests", 50, 12), view("requests", 1000, 3)][::turn]

    assert headers(views)["x-ratelimit-limit-requests"] == "1000"


def test_without_a_limit_there_is_no_header() -> None:
    assert headers([]) == {}


def test_anthropic_clients_read_times_and_only_the_names_that_they_know() -> None:
    rates = [
        RateView(unit="requests", limit=60, remaining=59, reset_ms=500),
        RateView(unit="requests", limit=5000, remaining=10, reset_ms=9_000_000),
        RateView(unit="output_tokens", limit=100, remaining=100, reset_ms=0),
        RateView(unit="audio_seconds", limit=9, remaining=9, reset_ms=0),
    ]

    assert anthropic_headers(rates, 1_730_000_000.2) == {
        "anthropic-ratelimit-requests-limit": "5000",
        "anthropic-ratelimit-requests-remaining": "10",
        "anthropic-ratelimit-requests-reset": "2024-10-27T06:03:21Z",
        "anthropic-ratelimit-output-tokens-limit": "100",
        "anthropic-ratelimit-output-tokens-remaining": "100",
        "anthropic-ratelimit-output-tokens-reset": "2024-10-27T03:33:21Z",
    }


def test_a_reset_is_never_told_too_early() -> None:
    assert rfc_3339(0) == "1970-01-01T00:00:00Z"
    assert rfc_3339(0.001) == "1970-01-01T00:00:01Z"
