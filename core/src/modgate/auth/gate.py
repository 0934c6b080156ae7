"""The door of a listener: a request's headers in, its caller out.

One look into a map for what was checked a moment ago.  Else the key is checked; what fails is
counted, and only what fails is ever told to wait (attempts.py).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2s

from modgate.api.auth import Caller, Role
from modgate.api.secret import Secret
from modgate.auth.attempts import Attempts
from modgate.auth.cache import KeyCache
from modgate.auth.credential import presented
from modgate.auth.keyring import Keyring
from modgate.auth.keys import STAFF, parse
from modgate.auth.verdict import Bad, Checker, Good, Later, Moment, Pending
from modgate.errors import Forbidden, GatewayError, RoleForbidden, TooManyAttempts, Unauthenticated

TENANT: frozenset[Role] = frozenset({"tenant"})
NOT_VALID = "the API key is not valid"
ROOT = Caller(tenant="", key_id="", role="admin")


class Gate:
    """Lets in callers of these roles; others are known, and forbidden.

    `checkers` are asked in their order about what is no key of modgate's own.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        attempts: Attempts,
        cache: KeyCache,
        roles: frozenset[Role] = TENANT,
        checkers: Sequence[Checker] = (),
    ) -> None:
        self.cache = cache
        self._keyring = keyring
        self._attempts = attempts
        self._roles = roles
        self._checkers = tuple(checkers)

    def authenticate(
        self, headers: Mapping[str, str], *, now: float, wall: float, client: str
    ) -> Caller:
        """The caller of a request.

        Unauthenticated without a key, with a bad one, or with two that disagree; TooManyAttempts in
        its place for a sender who has failed too often; RoleForbidden for a good key that is not
        for this listener.  Pending when somebody must be asked first.
        """
        text = presented(headers)
        mark = blake2s(text.encode("utf-8", "surrogatepass")).digest()
        if (caller := self.cache.get(mark, now)) is not None:
            return caller
        return self._checked(text, mark, Moment(now=now, wall=wall, client=client))

    def _checked(self, text: str, mark: bytes, at: Moment) -> Caller:
        if self._attempts.known_bad(mark, at.now):
            raise self._failed(Bad(message=NOT_VALID), "", mark, at)
        key = parse(text)
        if key is None:
            return self._asked(text, mark, at, 0)
        known = self._keyring.holder(key.id) is not None
        if not known and self._attempts.spent(at.client, at.now):
            # it cannot be good, so it costs no digest
            raise self._failed(Bad(message=NOT_VALID), "", mark, at)
        good = self._keyring.check(key, at.wall)
        if good is None:
            raise self._failed(Bad(message=NOT_VALID), key.id if known else "", mark, at)
        return self._let_in(good, mark, at)

    def _asked(self, text: str, mark: bytes, at: Moment, first: int) -> Caller:
        """What the checkers say, from the first of them on."""
        for number in range(first, len(self._checkers)):
            verdict = self._checkers[number].check(text, at)
            if isinstance(verdict, Later):
                raise Pending(partial(self._waited, verdict, text, mark, at, number + 1))
            if verdict is not None:
                return self._judged(verdict, mark, at)
        raise self._failed(Bad(message=NOT_VALID), "", mark, at)

    async def _waited(
        self, later: Later, text: str, mark: bytes, at: Moment, following: int
    ) -> Caller:
        verdict = await later.answer()
        if verdict is not None:
            return self._judged(verdict, mark, at)
        try:
            return self._asked(text, mark, at, following)
        except Pending as pending:
            return await pending.caller()

    def _judged(self, verdict: Good | Bad, mark: bytes, at: Moment) -> Caller:
        if isinstance(verdict, Bad):
            raise self._failed(verdict, "", mark, at)
        return self._let_in(verdict, mark, at)

    def _let_in(self, good: Good, mark: bytes, at: Moment) -> Caller:
        if good.caller.role not in self._roles:
            raise forbidden(good.caller)
        self.cache.put(mark, good.caller, at.now, good.for_s)
        return good.caller

    def _failed(self, bad: Bad, key_id: str, mark: bytes, at: Moment) -> GatewayError:
        if not bad.counted:
            return Unauthenticated(bad.message)
        wait_s = self._attempts.failed(at.client, key_id, mark, at.now)
        if wait_s > 0:
            return TooManyAttempts(f"{bad.message}, like too many before", retry_after_s=wait_s)
        return Unauthenticated(bad.message)


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
    keyring: Keyring,
    attempts: Attempts,
    *,
    key: Secret | None,
    open_: bool,
    tokens: Sequence[Checker] = (),
    others: Sequence[Checker] = (),
) -> tuple[Gate, AdminGate]:
    """The doors of both listeners, with caches of their own: none outlives its snapshot's keys.

    `others` know tenants only.
    """
    staff = Gate(keyring, attempts=attempts, cache=KeyCache(), roles=STAFF, checkers=tokens)
    public = Gate(keyring, attempts=attempts, cache=KeyCache(), checkers=[*tokens, *others])
    return public, AdminGate(staff, key=key, open_=open_)


def forbidden(caller: Caller) -> Forbidden:
    """A caller whose role is not one of those that may."""
    return RoleForbidden(f"a key of the role '{caller.role}' may not be used here")
