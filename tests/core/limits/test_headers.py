from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.limits.headers import RateView, anthropic_headers, go_duration, headers, rfc_3339

# What the SDKs read a duration with (wire.md B1).
PARSER = re.compile(r"^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0004, "1ms"),
        (0.012, "12ms"),
        (0.999, "999ms"),
        (0.9995, "1s"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.951, "59.951s"),
        (60, "1m0s"),
        (61.5, "1m1.5s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (3723, "1h2m3s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(min_value=1e-6, max_value=3e6))
def test_a_duration_reads_back_as_the_next_whole_millisecond(seconds: float) -> None:
    found = PARSER.match(go_duration(seconds))

    assert found is not None
    hours, minutes, whole, ms = (float(part or 0) for part in found.groups())
    read = hours * 3600 + minutes * 60 + whole + ms / 1000
    assert seconds - 1e-6 <= read <= seconds + 0.001 + 1e-6


def view(unit: str, limit: int, remaining: int, reset_s: float = 1.0) -> RateView:
    return RateView(unit=unit, limit=limit, remaining=remaining, reset_s=reset_s)


def test_each_limit_has_three_headers() -> None:
    assert headers([view("requests", 50, 49, 0.02)]) == {
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
        RateView(unit="requests", limit=60, remaining=59, reset_s=0.5),
        RateView(unit="requests", limit=5000, remaining=10, reset_s=90.0),
        RateView(unit="output_tokens", limit=100, remaining=100, reset_s=0.0),
        RateView(unit="audio_seconds", limit=9, remaining=9, reset_s=0.0),
    ]

    assert anthropic_headers(rates, 1_730_000_000.2) == {
        "anthropic-ratelimit-requests-limit": "5000",
        "anthropic-ratelimit-requests-remaining": "10",
        "anthropic-ratelimit-requests-reset": "2024-10-27T03:34:51Z",
        "anthropic-ratelimit-output-tokens-limit": "100",
        "anthropic-ratelimit-output-tokens-remaining": "100",
        "anthropic-ratelimit-output-tokens-reset": "2024-10-27T03:33:21Z",
    }


def test_a_reset_is_never_told_too_early() -> None:
    assert rfc_3339(0) == "1970-01-01T00:00:00Z"
    assert rfc_3339(0.001) == "1970-01-01T00:00:01Z"
