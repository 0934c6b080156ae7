from __future__ import annotations

import pytest

from modgate.errors import (
    LimitReached,
    MethodNotAllowed,
    NotFound,
    QuotaSpent,
    Refused,
    Unauthenticated,
)
from modgate.http.surfaces import Superset, built_in, error_headers

REFUSED = Refused("input", "invalid_value", "no")


def test_openai_errors_have_all_four_keys() -> None:
    body = built_in()["openai"].error_body(NotFound("gone"), "req_1")

    assert body == {
        "error": {
            "message": "gone",
            "type": "invalid_request_error",
            "param": None,
            "code": "unknown_url",
        }
    }


def test_each_surface_says_what_its_sdk_parses() -> None:
    surfaces = built_in()

    assert surfaces["cohere"].error_body(REFUSED, "r")["message"] == "no"
    assert surfaces["voyage"].error_body(REFUSED, "r") == {"detail": "no"}
    assert surfaces["mistral"].status(REFUSED) == 422
    detail = surfaces["mistral"].error_body(REFUSED, "r")["detail"]
    assert detail == [{"loc": ["body", "input"], "msg": "no", "type": "value_error"}]
    assert surfaces["mistral"].error_body(NotFound("x"), "r")["object"] == "error"


def test_a_shared_path_answers_with_every_surfaces_keys() -> None:
    surfaces = built_in()
    body = Superset([surfaces["voyage"], surfaces["cohere"]]).error_body(REFUSED, "r")

    assert {"detail", "message", "id"} <= set(body)


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (
            LimitReached("x", limit="l", unit="requests", retry_after_s=1.52),
            {"retry-after": "2", "retry-after-ms": "1520"},
        ),
        (QuotaSpent("x"), {"x-should-retry": "false"}),
        (Unauthenticated("x"), {"www-authenticate": "Bearer"}),
        (MethodNotAllowed("x", ["POST"]), {"allow": "POST"}),
        (REFUSED, {}),
    ],
)
def test_errors_carry_the_headers_that_clients_act_on(
    error: Refused, headers: dict[str, str]
) -> None:
    assert error_headers(error, built_in()["openai"], 0.0) == headers


def test_an_open_stream_ends_with_an_error_and_done() -> None:
    event = built_in()["openai"].error_event(REFUSED, "r")

    assert event.startswith(b'data: {"error":{')
    assert event.endswith(b"\n\ndata: [DONE]\n\n")
