from __future__ import annotations

from modgate.http.cors import Cors

PAGE = "https://app.example"


def test_a_page_with_the_anthropic_sdk_may_send_its_headers_and_read_the_request_id() -> None:
    allowed = Cors(origins=(PAGE,)).preflight(PAGE)
    wanted = set(allowed["access-control-allow-headers"].split(", "))
    read = set(allowed["access-control-expose-headers"].split(", "))

    assert {
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
    } <= wanted
    assert {"request-id", "x-request-id"} <= read


def test_a_page_may_use_the_helpers_of_its_sdk_and_keys_for_requests_done_once() -> None:
    allowed = Cors(origins=(PAGE,)).preflight(PAGE)["access-control-allow-headers"].split(", ")

    helpers = {"x-stainless-helper", "x-stainless-helper-method"}
    assert helpers | {"idempotency-key", "x-client-request-id"} <= set(allowed)
    assert {"x-idempotency-key", "x-request-timeout", "x-stainless-read-timeout"} <= set(allowed)


def test_a_page_may_use_the_sdks_of_cohere_and_vercel() -> None:
    """Source: cohere-ai 8.1, `BaseClient`; ai 6, which browsers let say its own `user-agent`."""
    allowed = Cors(origins=(PAGE,)).preflight(PAGE)["access-control-allow-headers"].split(", ")
    ferns = ("language", "sdk-name", "sdk-version", "runtime", "runtime-version")

    assert {f"x-fern-{each}" for each in ferns} | {"x-client-name", "user-agent"} <= set(allowed)


def test_another_page_may_nothing() -> None:
    assert Cors(origins=(PAGE,)).preflight("https://other.example") == {}
