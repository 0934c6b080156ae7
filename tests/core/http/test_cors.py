from __future__ import annotations

import re
from pathlib import Path

from modgate.http.cors import Cors

PAGE = "https://app.example"
SOMETIMES = (  # said by the gateway, which then says that a page may read them
    *("x-ratelimit-limit-", "-remaining-", "-reset-", "x-modgate-limits", "x-modgate-demo"),
    *("x-modgate-attempts", "x-modgate-slo", "x-modgate-degraded"),
)


def test_a_page_may_read_what_the_page_of_headers_lists() -> None:
    page = (Path(__file__).parents[3] / "docs" / "headers.md").read_text()
    told = _names(page.split("| a reply's header")[1])
    read = Cors(origins=(PAGE,)).headers(PAGE, SOMETIMES)["access-control-expose-headers"]

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


def test_what_a_cache_keeps_for_nobody_is_not_served_to_a_page() -> None:
    """A key set may be kept by a cache that all share.  Source: the Fetch standard, CORS protocol
    and HTTP caches."""
    some = Cors(origins=(PAGE,))

    assert some.headers(None) == some.headers("https://other.example") == {"vary": "Origin"}
    assert some.headers(PAGE)["vary"] == "Origin"
    assert Cors().headers(PAGE) == {}
