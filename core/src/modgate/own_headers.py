"""The headers that plugins give a reply, and those that they must leave to the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modgate.api.relay import Head
from modgate.errors import PluginFault

OURS = frozenset(
    {
        *("connection", "content-length", "keep-alive", "trailer", "transfer-encoding", "upgrade"),
        *("content-type", "date", "server", "x-request-id", "request-id"),
        *("openai-processing-ms", "x-modgate-units", "x-modgate-queue-ms", "x-modgate-upstream-ms"),
        *("x-modgate-attempts", "x-modgate-degraded", "x-modgate-slo", "x-modgate-limits"),
        *("x-modgate-demo", "x-modgate-dry-run", "x-modgate-replay-of", "idempotent-replayed"),
        *("retry-after", "retry-after-ms", "x-should-retry", "x-modgate-queue-place"),
    }
)
OURS_BEGIN = ("access-control-",)
LIMITS_BEGIN = ("x-ratelimit-", "anthropic-ratelimit-")
# More is read by no usual client: aiohttp takes 8190 bytes a header, Node.js 16 KiB of them all.
HEADERS_AT_MOST, CHARACTERS_AT_MOST = 50, 8000
KINDS = ("whole", "sse", "chunked")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # Source: RFC 9110 5.6.2, a token
_BREAK = re.compile(r"[\r\n\0]")


def own_headers(head: Head) -> dict[str, str]:
    """The headers of a relay's head, its content type first; PluginFault for an unusable head.

    Only the gateway says whose request it is, who may read the reply, what it costs, how it was
    served and where its body ends.
    """
    if head.kind not in KINDS:
        raise PluginFault(f"a Head is of a kind of {', '.join(KINDS)}, and not '{head.kind}'")
    if not _line(head.content_type):
        raise PluginFault("the content type of a Head is a text of one line")
    theirs = _theirs("a relay's head", head.headers, (*OURS_BEGIN, *LIMITS_BEGIN))
    return _few("a relay's head", {"content-type": head.content_type, **theirs})


def own_error_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a surface gives an error; PluginFault for unusable ones.

    They say of limits what its SDKs read; all else that the gateway says is left to it.
    """
    return _few("an error's head", _theirs("an error's head", headers, OURS_BEGIN))


def _theirs(
    whose: str, headers: Mapping[str, str], ours_begin: tuple[str, ...]
) -> Mapping[str, str]:
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None:
            raise PluginFault(f"{whose} has a name that is no header's")
        low = name.lower()
        if low in OURS or low.startswith(ours_begin):
            raise PluginFault(f"{whose} must not say '{low}': the gateway does")
        if not _line(value):
            raise PluginFault(f"{whose} must say '{low}' with a text of one line")
    return headers


def _few(whose: str, headers: Mapping[str, str]) -> dict[str, str]:
    """These headers; PluginFault for more than clients read."""
    size = sum(map(len, headers)) + sum(map(len, headers.values()))
    if len(headers) > HEADERS_AT_MOST or size > CHARACTERS_AT_MOST:
        text = f"at most {HEADERS_AT_MOST} headers, of {CHARACTERS_AT_MOST} characters in all"
        raise PluginFault(f"{whose} has {text}")
    return dict(headers)


def _line(value: object) -> bool:
    return isinstance(value, str) and _BREAK.search(value) is None
