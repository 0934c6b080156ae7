"""An error that a surface tells in a way that no client could read is told as openai's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from rigs.drafts import drafted

from modgate.error_reply import PLAIN, TOLD_AT_MOST, error_event, typed_error
from modgate.plugin import GatewayError, JsonObject, Refused, Surface, openai_error

ERROR = Refused("voice", "invalid_value", "no such voice")


class Wordy(Surface):
    """Says more than others."""

    name = "wordy"

    def __init__(self, headers: Mapping[str, str], more: str = "") -> None:
        self._headers, self._more = headers, more

    def error_headers(self, error: GatewayError, wall: float) -> Mapping[str, str]:
        return self._headers

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        return {"error": openai_error(error), "more": self._more}


def test_what_a_surface_says_of_limits_is_told() -> None:
    _, headers, _ = typed_error(ERROR, Wordy({"x-ratelimit-reset": "7", "x-own": "1"}), drafted())

    assert headers == {
        "content-type": "application/json",
        "x-ratelimit-reset": "7",
        "x-own": "1",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {f"x-{number}": "1" for number in range(1000)},
        {"x-a": "b\r\nx-more: 1"},
        {"content-length": "3"},
        {"X-Request-ID": "mine"},
    ],
    ids=["many", "two lines", "a length", "an id"],
)
def test_headers_that_are_too_many_none_or_the_gateways_are_not(headers: dict[str, str]) -> None:
    told = typed_error(ERROR, Wordy(headers), drafted())

    assert told == typed_error(ERROR, PLAIN, drafted())


def test_a_body_without_bounds_is_not() -> None:
    surface = Wordy({}, "a" * TOLD_AT_MOST)

    assert typed_error(ERROR, surface, drafted()) == typed_error(ERROR, PLAIN, drafted())
    assert error_event(ERROR, surface, drafted()) == error_event(ERROR, PLAIN, drafted())
