"""The keys of a snapshot, and the check of a request's headers against them."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from multidict import CIMultiDictProxy, MultiMapping

from modgate.api.auth import Caller
from modgate.api.secret import Secret
from modgate.auth.keys import StoredKey, digest, parse
from modgate.errors import ConfigError, Problem, Unauthenticated

CACHE_S = 5.0
CACHE_AT_MOST = 10_000
HEADERS = ("authorization", "x-api-key", "api-key")
_DUMMY = "0" * 64


class KeyCache:
    """Keys that were found good a moment ago, by the SHA-256 of the whole key.  Bounded; 5 s."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    def get(self, key: bytes, now: float) -> Caller | None:
        """Whose key it is, if that was checked within the last five seconds."""
        found = self._known.get(key)
        return found[1] if found is not None and found[0] > now else None

    def put(self, key: bytes, caller: Caller, now: float) -> None:
        """Remember a good key."""
        self._known[key] = (now + CACHE_S, caller)
        self._known.move_to_end(key)
        if len(self._known) > CACHE_AT_MOST:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget all: a key may have been revoked."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a key, and the digests that are good for its id (two while it is rotated)."""

    caller: Caller
    digests: tuple[str, ...]


class Keyring:
    """All keys.  Authenticating is synchronous and looks at nothing outside."""

    def __init__(
        self,
        keys: Iterable[tuple[Caller, StoredKey]],
        *,
        pepper: Secret,
        cache: KeyCache,
    ) -> None:
        """ConfigError for an id that two tenants hold: one would be let in as the other."""
        holders: dict[str, Holder] = {}
        for caller, stored in keys:
            known = holders.get(stored.id)
            if known is not None and known.caller.tenant != caller.tenant:
                text = (
                    f"key id {stored.id} is tenant '{known.caller.tenant}'s already; make a new key"
                )
                path = f"tenant.{caller.tenant}.keys"
                raise ConfigError([Problem(message=text, path=path)])
            digests = (*known.digests, stored.digest) if known else (stored.digest,)
            holders[stored.id] = Holder(caller=caller, digests=digests)
        self._holders = holders
        self._pepper = pepper
        self._cache = cache

    def authenticate(self, headers: Mapping[str, str], now: float) -> Caller:
        """The caller of a request; Unauthenticated without a key, with a bad one, or with two."""
        text = presented(headers)
        known = sha256(text.encode("utf-8", "surrogatepass")).digest()
        if (caller := self._cache.get(known, now)) is not None:
            return caller
        key = parse(text)
        if key is None:
            raise Unauthenticated("the API key is not valid")
        holder = self._holders.get(key.id)
        made = digest(self._pepper, key.secret.reveal())
        good = [
            hmac.compare_digest(made, each) for each in (holder.digests if holder else (_DUMMY,))
        ]
        if holder is None or not any(good):
            raise Unauthenticated("the API key is not valid")
        self._cache.put(known, holder.caller, now)
        return holder.caller


def presented(headers: Mapping[str, str]) -> str:
    """The one key that the headers carry (wire.md 1.2)."""
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
