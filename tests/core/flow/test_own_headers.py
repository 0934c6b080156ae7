"""What a relay's head may say of the reply."""

from __future__ import annotations

from typing import Any

import pytest

from modgate.errors import PluginFault
from modgate.own_headers import CHARACTERS_AT_MOST, HEADERS_AT_MOST, own_headers
from modgate.plugin import SSE, Head


@pytest.mark.parametrize(
    "head", [SSE, Head(), Head(kind="chunked", headers={"X-Voice": "amy", "cache-control": ""})]
)
def test_headers_of_its_own_are_passed_on(head: Head) -> None:
    assert own_headers(head) == {"content-type": head.content_type, **head.headers}


@pytest.mark.parametrize(
    "name",
    [
        *("x-request-id", "Request-ID", "x-modgate-units", "openai-processing-ms"),
        *("Content-Type", "content-length", "Trailer", "date", "server"),
        *("access-control-allow-origin", "x-ratelimit-remaining-requests", "Retry-After"),
        *("anthropic-ratelimit-requests-limit", "x-modgate-queue-ms", "x-modgate-upstream-ms"),
        *("x-modgate-attempts", "x-modgate-degraded", "x-modgate-slo", "x-modgate-limits"),
        *("x-modgate-demo", "x-modgate-dry-run", "idempotent-replayed", "x-modgate-replay-of"),
    ],
)
def test_what_the_gateway_says_itself_is_no_relays(name: str) -> None:
    with pytest.raises(PluginFault, match=f"'{name.lower()}'"):
        own_headers(Head(headers={name: "1"}))


@pytest.mark.parametrize("name", ["", "x a", "x:", "x\r\nset-cookie", "\u00e4"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(PluginFault, match="no header"):
        own_headers(Head(headers={name: "1"}))


@pytest.mark.parametrize("value", ["a\r\nx-more: 1", "a\nb", "a\0b", 5, None])
def test_a_value_is_a_text_of_one_line(value: Any) -> None:
    with pytest.raises(PluginFault, match="'x-voice'"):
        own_headers(Head(headers={"x-voice": value}))


@pytest.mark.parametrize(
    "said", [{"kind": "stream"}, {"content_type": "text/html\r\nx: y"}, {"content_type": None}]
)
def test_a_reply_of_no_known_kind_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(PluginFault):
        own_headers(Head(**said))


@pytest.mark.parametrize(
    "headers",
    [
        {f"x-{number}": "1" for number in range(1000)},
        {"x-voice": "a" * CHARACTERS_AT_MOST},
        {"x" * CHARACTERS_AT_MOST: ""},
    ],
    ids=["many", "long value", "long name"],
)
def test_more_headers_than_clients_read_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(PluginFault, match="at most"):
        own_headers(Head(headers=headers))


def test_as_many_as_clients_read_are_passed_on() -> None:
    headers = {f"x-{number}": "1" * 100 for number in range(HEADERS_AT_MOST - 1)}

    assert own_headers(Head(headers=headers)).items() >= headers.items()
