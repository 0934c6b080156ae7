"""What a request's headers carry to say who is calling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from multidict import CIMultiDictProxy, MultiMapping

from modgate.errors import Unauthenticated

HEADERS = ("authorization", "x-api-key", "api-key")


def presented(headers: Mapping[str, str]) -> str:
    """The one key or token that the headers carry (wire.md 1.2); Unauthenticated without one."""
    if isinstance(headers, CIMultiDictProxy) and (key := _only_bearer(headers)) is not None:
        return key  # same result without this: the form that nearly all clients use
    found: list[str] = []
    for name, sent in _values(headers):
        value = sent
        if name == "authorization":
            scheme, _, rest = value.partition(" ")
            if scheme.lower() != "bearer":
                continue
            value = rest
        found.append(value.strip())
    keys = {key for key in found if key}
    if not keys:
        error = Unauthenticated("an API key is needed: send it as 'Authorization: Bearer KEY'")
        error.code = "missing_api_key"
        raise error
    if len(keys) > 1:
        raise Unauthenticated("the request carries two API keys that disagree")
    return keys.pop()


def _only_bearer(headers: CIMultiDictProxy[str]) -> str | None:
    """The key of a single `Authorization: Bearer KEY`, when no other header could carry one."""
    if "x-api-key" in headers or "api-key" in headers:
        return None
    values = headers.getall("authorization", ())
    if len(values) != 1 or not values[0].startswith("Bearer "):
        return None
    return values[0][7:].strip() or None


def _values(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Repeated headers too: whoever stands before us may have looked at another one."""
    for name in HEADERS:
        if isinstance(headers, MultiMapping):
            yield from ((name, value) for value in headers.getall(name, ()))
        elif (single := headers.get(name)) is not None:
            yield name, single
