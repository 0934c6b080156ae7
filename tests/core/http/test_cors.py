from __future__ import annotations

import re
from pathlib import Path

from modgate.http.cors import Cors

PAGE = "https://app.example"
SOMETIMES = (  # said by the gateway, which then says that a page may read them
    *("x-ratelimit-limit-", "-remaining-", "-reset-", "x-modgate-limits", "x-modgate-demo"),
    *("x-modgate-attempts", "x-modgate-slo", "x-modgate-degraded"),
)


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


def test_a_page_may_send_and_read_what_the_page_of_headers_lists() -> None:
    page = (Path(__file__).parents[3] / "docs" / "headers.md").read_text()
    asked, told = (_names(rows) for rows in page.split("| a reply's header")[0:2])
    allowed = Cors(origins=(PAGE,)).preflight(PAGE)
    read = Cors(origins=(PAGE,)).headers(PAGE, SOMETIMES)["access-control-expose-headers"]

    assert asked - {"expect"} <= set(allowed["access-control-allow-headers"].split(", "))
    assert told <= set(read.split(", "))


def _names(rows: str) -> set[str]:
    """The headers in the first cells of a table, in small letters."""
    cells = [line.split("|")[1] for line in rows.splitlines() if line.startswith("| `")]
    return {
        name
        for cell in cells
        for name in re.findall(r"`([a-z-]+)", cell.replace("UNIT", "").lower())
    }


def test_another_page_may_nothing() -> None:
    assert Cors(origins=(PAGE,)).preflight("https://other.example") == {}
