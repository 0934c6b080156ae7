"""What plugins know of callers: each authenticator driven, and its answers held to the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from hashlib import sha256
from traceback import extract_tb
from types import TracebackType
from urllib.parse import urlsplit

from modgate.api.auth import Caller, Policy
from modgate.api.authenticator import (
    Answer,
    AnyAuthenticator,
    Asking,
    Credential,
    Document,
    Identity,
    Lookup,
    Reject,
)
from modgate.api.secret import Secret
from modgate.auth.flights import Flights
from modgate.auth.verdict import Bad, Good, Later, Moment, Verdict
from modgate.errors import GatewayError, PluginFault, Unasked, Unavailable
from modgate.faults import raised

REMEMBERED_S = 60.0
LOOKUPS_AT_MOST = 4
TOTAL_S = 10.0

# Asks a server; OSError when it cannot be had.
Ask = Callable[[Lookup], Awaitable[Document]]
PolicyOf = Callable[[str], Policy | None]


class PluginChecker:
    """One authenticator as a checker.

    `tenants`: whom it may let in, None = all; `ask` sends its lookups.
    """

    def __init__(
        self,
        name: str,
        authenticator: AnyAuthenticator,
        *,
        tenants: frozenset[str] | None,
        policy_of: PolicyOf,
        ask: Ask,
        flights: Flights[Good | Bad | None],
    ) -> None:
        self._name = name
        self._authenticator = authenticator
        self._tenants = tenants
        self._policy_of = policy_of
        self._ask = ask
        self._flights = flights
        self._origins = frozenset(authenticator.origins())

    def check(self, text: str, at: Moment) -> Verdict:
        """What the authenticator says; PluginFault for what it raises."""
        credential = Credential(secret=Secret(text), client=at.client)
        with Unsaid(self._name):
            answer = self._authenticator.authenticate(credential)
        if not isinstance(answer, Generator):
            return self._verdict(answer)
        about = sha256(f"{self._name} {text}".encode("utf-8", "surrogatepass")).digest()
        return Later(partial(self._flights.once, about, partial(self._driven, answer)))

    async def _driven(self, asking: Asking) -> Good | Bad | None:
        try:
            async with asyncio.timeout(TOTAL_S):
                with Unsaid(self._name):
                    return self._verdict(await self._asked(asking))
        except TimeoutError:
            raise self._unreachable() from None
        finally:
            asking.close()

    async def _asked(self, asking: Asking) -> Answer:
        try:
            lookup = next(asking)
            for _ in range(LOOKUPS_AT_MOST):
                try:
                    document = await self._looked_up(lookup)
                except Unavailable as error:
                    lookup = asking.throw(error)
                else:
                    lookup = asking.send(document)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        raise PluginFault(f"the authenticator '{self._name}' looked up too often")

    async def _looked_up(self, lookup: Lookup) -> Document:
        if origin_of(lookup.url) not in self._origins:
            text = f"the authenticator '{self._name}' asks where it did not say it would"
            raise PluginFault(text)
        try:
            return await self._ask(lookup)
        except OSError:
            raise self._unreachable() from None

    def _verdict(self, answer: Answer) -> Good | Bad | None:
        match answer:
            case None:
                return None
            case Reject():
                return Bad(message=answer.message)
            case Identity():
                return self._known(answer)
            case _:
                raise PluginFault(f"the authenticator '{self._name}' answered what is no answer")

    def _known(self, who: Identity) -> Good | Bad:
        allowed = self._tenants is None or who.tenant in self._tenants
        policy = self._policy_of(who.tenant) if allowed else None
        if policy is None:
            text = "the credential is of no tenant of this gateway"
            return Bad(message=text, counted=False)
        caller = Caller(
            tenant=who.tenant, key_id=f"{self._name}:{who.key_id}".rstrip(":"), policy=policy
        )
        return Good(caller=caller, for_s=min(REMEMBERED_S, who.for_s))

    def _unreachable(self) -> Unasked:
        return Unasked(f"what knows callers by '{self._name}' cannot be reached now")


class Unsaid:
    """What an authenticator raises becomes a PluginFault that says where, and not what: the text
    of an exception may hold the credential."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, raised()) or isinstance(error, GatewayError):
            return
        frames = extract_tb(trace)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
        text = f"{type(error).__name__} at {place} in the authenticator '{self._name}'"
        raise PluginFault(text) from None


def origin_of(url: str) -> str:
    """`https://host:port` of a URL as `origins` spells it; "" for what is no plain URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
