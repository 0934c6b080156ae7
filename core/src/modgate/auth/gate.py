"""The door of a listener: a request's headers in, its caller out.

One look into a map for what was checked a moment ago.  Else the key is checked; what fails is
counted, and only what fails is ever told to wait (attempts.py).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from modgate.api.auth import Caller, Role
from modgate.api.secret import Secret
from modgate.auth.attempts import Attempts
from modgate.auth.cache import CACHE_S, KeyCache
from modgate.auth.credential import presented
from modgate.auth.keyring import Good, Keyring
from modgate.auth.keys import STAFF, parse
from modgate.errors import Forbidden, GatewayError, RoleForbidden, TooManyAttempts, Unauthenticated

NOT_VALID = "the API key is not valid"
ROOT = Caller(tenant="", key_id="", role="admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When, and from where, a request came.

    `now`: of a clock that never goes back; `wall`: unix seconds; `client`: the trusted address.
    """

    now: float
    wall: float
    client: str


class Gate:
    """Lets in callers of these roles; others are known, and forbidden."""

    def __init__(
        self,
        keyring: Keyring,
        *,
        attempts: Attempts,
        cache: KeyCache,
        roles: frozenset[Role] = frozenset({"tenant"}),
    ) -> None:
        self.cache = cache
        self._keyring = keyring
        self._attempts = attempts
        self._roles = roles

    def authenticate(
        self, headers: Mapping[str, str], *, now: float, wall: float, client: str
    ) -> Caller:
        """The caller of a request.

        Unauthenticated without a key, with a bad one, or with two that disagree; TooManyAttempts in
        its place for a sender who has failed too often; RoleForbidden for a good key that is not
        for this listener.
        """
        text = presented(headers)
        mark = sha256(text.encode("utf-8", "surrogatepass")).digest()
        if (caller := self.cache.get(mark, now)) is not None:
            return caller
        return self._checked(text, mark, Moment(now=now, wall=wall, client=client))

    def _checked(self, text: str, mark: bytes, at: Moment) -> Caller:
        if self._attempts.known_bad(mark, at.now):
            raise self._failed("", mark, at)
        good = self._checked_key(text, mark, at)
        caller = good.caller
        if caller.role not in self._roles:
            raise forbidden(caller)
        for_s = CACHE_S if good.for_s is None else min(CACHE_S, good.for_s)
        self.cache.put(mark, caller, at.now, for_s)
        return caller

    def _checked_key(self, text: str, mark: bytes, at: Moment) -> Good:
        key = parse(text)
        if key is None:
            raise self._failed("", mark, at)
        known = self._keyring.holder(key.id) is not None
        if not known and self._attempts.spent(at.client, at.now):
            raise self._failed("", mark, at)  # it cannot be good, so it costs no digest
        good = self._keyring.check(key, at.wall)
        if good is None:
            raise self._failed(key.id if known else "", mark, at)
        return good

    def _failed(self, key_id: str, mark: bytes, at: Moment) -> GatewayError:
        wait_s = self._attempts.failed(at.client, key_id, mark, at.now)
        if wait_s > 0:
            return TooManyAttempts(f"{NOT_VALID}, like too many before it", retry_after_s=wait_s)
        return Unauthenticated(NOT_VALID)


class AdminGate:
    """The door of the admin listener.

    `key`: `[admin] key`, which is an admin.  `open_`: no key is asked for, on loopback only.
    """

    def __init__(self, gate: Gate, *, key: Secret | None, open_: bool) -> None:
        self.cache = gate.cache
        self._gate = gate
        self._key = key.reveal().encode() if key is not None else None
        self._open = open_

    def authenticate(
        self, headers: Mapping[str, str], *, now: float, wall: float, client: str
    ) -> Caller:
        """The caller of an admin page; raises as `Gate.authenticate` does."""
        if self._open:
            return ROOT
        if self._key is not None:
            given = presented(headers).encode("utf-8", "surrogatepass")
            if hmac.compare_digest(given, self._key):
                return ROOT
        return self._gate.authenticate(headers, now=now, wall=wall, client=client)


def doors(
    keyring: Keyring, attempts: Attempts, *, key: Secret | None, open_: bool
) -> tuple[Gate, AdminGate]:
    """The doors of both listeners, with caches of their own: none outlives its snapshot's keys."""
    staff = Gate(keyring, attempts=attempts, cache=KeyCache(), roles=STAFF)
    public = Gate(keyring, attempts=attempts, cache=KeyCache())
    return public, AdminGate(staff, key=key, open_=open_)


def forbidden(caller: Caller) -> Forbidden:
    """A caller whose role is not one of those that may."""
    return RoleForbidden(f"a key of the role '{caller.role}' may not be used here")
