"""Cross-origin rules of `[cors]`: which web pages may call us from a browser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXPOSED = (
    "x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "
    "x-modgate-units, x-modgate-queue-ms, x-modgate-queue-place, x-modgate-upstream-ms, "
    "x-modgate-dry-run, "
    "x-modgate-replay-of, idempotent-replayed, "
    "x-modgate-partial, x-modgate-truncated, x-modgate-sample-rate, x-modgate-ignored"  # of relays
)
METHODS = "GET, POST, OPTIONS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """The rules for web pages.

    `origins`: exact ones, or `*` for all; without any, no page may call.  `max_age_s`: how long a
    browser may remember the answer to a preflight.
    """

    origins: tuple[str, ...] = ()
    max_age_s: int = 600

    def allows(self, origin: str | None) -> bool:
        """Whether a page of this origin may call."""
        return origin is not None and ("*" in self.origins or origin in self.origins)

    def headers(self, origin: str | None, present: Iterable[str] = ()) -> dict[str, str]:
        """The headers of a reply to a page of this origin.

        `present`: our other headers of this reply, which the page may read, too.
        """
        if not self.origins:
            return {}
        if origin is None or not self.allows(origin):
            return {"vary": "Origin"}  # or a cache would keep it for the pages that may read it
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": ", ".join([EXPOSED, *present]),
            "vary": "Origin",
        }

    def preflight(self, origin: str | None, asked: str = "") -> dict[str, str]:
        """The headers of the answer to a preflight; none of them when the origin is refused.

        `asked`: the headers that the page would send.  All are allowed: every SDK has some of its
        own, and we read only those that we know.  They are listed one by one, because `*` does not
        cover `authorization`.  Source: the Fetch standard, CORS protocol.
        """
        if not self.allows(origin):
            return {}
        return {
            **self.headers(origin),
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": asked,
            "access-control-max-age": str(self.max_age_s),
        }
