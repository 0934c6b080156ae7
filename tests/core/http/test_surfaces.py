from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from modgate.errors import (
    Draining,
    Forbidden,
    GatewayError,
    LimitReached,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    QuotaSpent,
    Refused,
    Unauthenticated,
    UpstreamFailed,
    UpstreamTimedOut,
)
from modgate.http.surfaces import Superset, built_in, error_headers, spoken

REFUSED = Refused("input", "invalid_value", "no")
FULL = Overloaded("x")
FULL.place = 3


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

    assert surfaces["cohere"].error_body(REFUSED, "r")["message"] == "input: no"
    assert surfaces["voyage"].error_body(REFUSED, "r") == {"detail": "input: no"}
    assert surfaces["mistral"].status(REFUSED) == 422
    detail = surfaces["mistral"].error_body(REFUSED, "r")["detail"]
    assert detail == [{"loc": ["body", "input"], "msg": "no", "type": "value_error"}]
    assert surfaces["mistral"].error_body(NotFound("x"), "r")["object"] == "error"


@pytest.mark.parametrize(
    ("field", "message", "told"),
    [
        ("k", "no number can be that large", "k: no number can be that large"),
        ("k", "'k' is at most 5", "'k' is at most 5"),
        (
            "messages[0].content[1]",
            "the image is damaged",
            "messages[0].content[1]: the image is damaged",
        ),
        (None, "the body is not valid JSON", "the body is not valid JSON"),
    ],
)
def test_a_surface_of_a_message_alone_names_the_field_in_it(
    field: str | None, message: str, told: str
) -> None:
    error = Refused(field, "invalid_value", message)
    surfaces = built_in()

    assert surfaces["voyage"].error_body(error, "r") == {"detail": told}
    assert surfaces["cohere"].error_body(error, "r")["message"] == told
    assert told in surfaces["cohere"].error_event(error, "r").decode().replace("\\", "")


def test_what_mistrals_sdk_parses_says_where_by_steps() -> None:
    mistral = built_in()["mistral"]
    long = Refused("messages", "context_length_exceeded", "x")
    (deep,) = mistral.error_body(Refused("messages[3].tool_calls[0].id", "c", "x"), "r")["detail"]

    assert deep["loc"] == ["body", "messages", 3, "tool_calls", 0, "id"]
    assert mistral.status(long) == 400
    assert mistral.error_body(long, "r")["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "openai"),
        ({"user-agent": "OpenAI/Python 2.54.0"}, "openai"),
        ({"user-agent": "mistral-client-python/3.7.0"}, "mistral"),
        ({"user-agent": "mistral-client-typescript/2.0.0"}, "mistral"),
        ({"user-agent": "ai-sdk/mistral/3.0.69 runtime/node.js/v20.20.2"}, "mistral"),
        ({"user-agent": "somebody, not mistral-client-python/3.7.0"}, "openai"),
        ({"user-agent": "Mozilla/5.0", "x-mistral-user-agent": "mistral-client-x"}, "mistral"),
        ({"x-fern-sdk-name": "cohere"}, "cohere"),
        ({"x-fern-sdk-name": "voyageai"}, "voyage"),
        ({"x-fern-sdk-name": "acme"}, "openai"),
        ({"anthropic-version": "2023-06-01", "user-agent": "mistral-client-python/3"}, "anthropic"),
    ],
)
def test_an_sdk_is_recognised_by_what_it_says_of_itself(headers: dict[str, str], name: str) -> None:
    assert spoken(built_in(), headers).name == name


@pytest.mark.parametrize(
    ("fields", "voyages"),
    [
        ({"truncation": True}, True),
        ({"top_k": 2, "model": "mine"}, True),
        ({"model": "rerank-2.5"}, True),
        ({"model": "rerank-lite-1"}, True),
        ({"model": "rerank-2.5", "top_n": 2}, False),
        ({"model": "rerank-v3.5"}, False),
        ({"model": "rerank-english-v3.0"}, False),
        ({"model": "jina-reranker-v2-base-multilingual"}, False),
        ({"model": None}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_search_is_voyages_by_its_words_or_by_the_name_of_its_ranker(
    fields: dict[str, object], voyages: bool
) -> None:
    assert built_in()["voyage"].claims(fields) is voyages


def test_a_shared_path_answers_with_every_surfaces_keys() -> None:
    surfaces = built_in()
    body = Superset([surfaces["voyage"], surfaces["cohere"]]).error_body(REFUSED, "r")

    assert {"detail", "message", "id"} <= set(body)
    assert body["error"] == built_in()["openai"].error_body(REFUSED, "r")["error"]


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
        (FULL, {"retry-after": "1", "retry-after-ms": "1000", "x-modgate-queue-place": "3"}),
    ],
)
def test_errors_carry_the_headers_that_clients_act_on(
    error: Refused, headers: dict[str, str]
) -> None:
    assert error_headers(error) == headers


@pytest.mark.parametrize(
    ("wait_s", "seconds", "ms"),
    [
        (nan, "1", "1000"),
        (inf, "120", "120000"),
        (1e9, "120", "120000"),
        (-inf, "1", "1"),
        (-5, "1", "1"),
    ],
)
def test_a_wait_of_no_sense_is_told_as_one_of_sense(wait_s: float, seconds: str, ms: str) -> None:
    error = LimitReached("x", limit="l", unit="requests", retry_after_s=wait_s)
    told = error_headers(error)

    assert told == {"retry-after": seconds, "retry-after-ms": ms}


@pytest.mark.parametrize("wrong", [{"limit": 1}, {"unit": None}, {"retry_after_s": "5"}])
def test_a_limit_that_nobody_can_tell_of_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        LimitReached("x", **{"limit": "l", "unit": "u", "retry_after_s": 1.0, **wrong})


def test_an_open_stream_ends_with_an_error_and_done() -> None:
    event = built_in()["openai"].error_event(REFUSED, "r")

    assert event.startswith(b'data: {"error":{')
    assert event.endswith(b"\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (REFUSED, 400, "invalid_request_error"),
        (Unauthenticated("x"), 401, "authentication_error"),
        (Forbidden("x"), 403, "permission_error"),
        (NotFound("x"), 404, "not_found_error"),
        (MethodNotAllowed("x", ["POST"]), 405, "invalid_request_error"),
        (QuotaSpent("x"), 429, "rate_limit_error"),
        (GatewayError("x"), 500, "api_error"),
        (UpstreamFailed("x"), 502, "api_error"),
        (Draining("x"), 503, "overloaded_error"),
        (UpstreamTimedOut("x"), 504, "timeout_error"),
        (Overloaded("x"), 529, "overloaded_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else str(value),
)
def test_anthropic_errors_have_their_own_types(error: GatewayError, status: int, kind: str) -> None:
    surface = built_in()["anthropic"]
    body = surface.error_body(error, "req_1")

    assert surface.status(error) == status
    assert body["type"] == "error"
    assert body["request_id"] == "req_1"
    assert body["error"]["type"] == kind
    assert body["error"]["details"] == {"error_code": error.code}


def test_an_anthropic_message_names_the_field() -> None:
    surface = built_in()["anthropic"]
    long = Refused("messages", "context_length_exceeded", "This model's maximum ...")

    assert surface.error_body(REFUSED, "r")["error"]["message"] == "input: no"
    said = surface.error_body(long, "r")["error"]["message"]
    assert said == "prompt is too long: This model's maximum ..."
    long.message = "you requested 9 tokens (1 in the messages, 8 in the completion)"
    said = surface.error_body(long, "r")["error"]["message"]
    assert said == f"input length and `max_tokens` exceed context limit: {long.message}"


def test_every_event_of_an_anthropic_stream_has_a_name() -> None:
    surface = built_in()["anthropic"]

    assert surface.keep_alive == b'event: ping\ndata: {"type":"ping"}\n\n'
    event = surface.error_event(UpstreamFailed("lost"), "r")
    assert event.startswith(b'event: error\ndata: {"type":"error","error":{"type":"api_error"')
    assert event.endswith(b"\n\n")
    assert event.count(b"\n\n") == 1


def test_a_cohere_stream_ends_in_an_event_that_its_sdk_knows() -> None:
    event, done = built_in()["cohere"].error_event(UpstreamFailed("lost"), "r").split(b"\n\n", 1)

    assert event == (
        b'event: message-end\ndata: {"type":"message-end",'
        b'"delta":{"finish_reason":"ERROR","error":"lost"}}'
    )
    assert done == b"data: [DONE]\n\n"


def test_an_error_of_a_response_is_in_the_words_of_its_route() -> None:
    surface = built_in()["responses"]
    long = surface.error_body(Refused("messages", "context_length_exceeded", "x"), "r")["error"]

    assert long["param"] == "input"
    assert long["code"] == "context_length_exceeded"
    assert long["message"].startswith("Your input exceeds the context window of this model.")
    named = surface.error_body(Refused("max_tokens", "invalid_value", "x"), "r")["error"]
    assert named["param"] == "max_output_tokens"
