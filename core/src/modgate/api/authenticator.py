"""Knowing callers by credentials that the core does not know: opaque tokens, partners' keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel

from modgate.api.json import JsonObject
from modgate.api.secret import Secret
from modgate.api.shipment import must_fit_rows

MESSAGE_AT_MOST = 200
TENANT_AT_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a request was sent with, and the trusted address that it came from.

    Never a key of modgate's own, nor a token of an issuer of the configuration.
    """

    secret: Secret
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A question to a server that the operator named; the answer is a `Document`.

    The core asks it: no redirect, five seconds, 64 KiB.  Whatever it answers comes in, errors
    too.  Headers and body are never shown, for they may hold the credential; a URL is shown, so it
    must not.
    """

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a server answered."""

    status: int
    body: bytes = field(default=b"", repr=False)

    def fields(self) -> JsonObject:
        """The body's JSON object; empty for anything else."""
        try:
            read = orjson.loads(self.body)
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who it is: a tenant of the operator, whose policy and limits are then the caller's.

    `key_id` stands in the ledger and separates the limits of each key; it must not be the
    credential, and has no control characters, which no sink can hold.  `for_s`: how long that may
    be believed, a minute at most.
    """

    tenant: str
    key_id: str = ""
    for_s: float = 5.0

    def __post_init__(self) -> None:
        """ValueError for what cannot be a tenant's name, or a time."""
        if not 0 < len(self.tenant) <= TENANT_AT_MOST or len(self.key_id) > TENANT_AT_MOST:
            raise ValueError(f"a tenant's name and a key id have at most {TENANT_AT_MOST} letters")
        must_fit_rows(self.tenant + self.key_id)
        if not self.for_s >= 0:
            raise ValueError("a time to believe somebody is 0 or more seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """It is a credential of this kind, and no good one; counted as a failed attempt.

    `message`: for the client; it repeats nothing of the credential.
    """

    message: str = "the credential is not valid"

    def __post_init__(self) -> None:
        """ValueError for a message that is none."""
        if not 0 < len(self.message) <= MESSAGE_AT_MOST:
            raise ValueError(f"the message of a Reject has 1 to {MESSAGE_AT_MOST} characters")


Answer = Identity | Reject | None
Asking = Generator[Lookup, Document, Answer]

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class Authenticator(ABC, Generic[ConfigT]):
    """A plugin's class: the host makes one instance for each `[auth.plugin.*]` section naming it.

    It is asked about what is neither a key nor a token that the core knows, and makes tenants of
    callers, never operators or admins.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[BaseModel]]

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def origins(self) -> Sequence[str]:
        """Where its Lookups may go, as `https://HOST[:PORT]`: from its own section."""
        return ()

    @abstractmethod
    def authenticate(self, credential: Credential) -> Answer | Asking:
        """Who it is; None for a credential of another kind, then the next is asked.

        Pure; or a generator that yields at most four Lookups and returns the answer.  A server that
        cannot be reached is thrown in as the GatewayError; what is let through is the client's 503.
        What is answered is remembered, and a credential that comes many times at once is looked up
        once, so this is not called for every request.  Return None without a Lookup for whatever
        does not look like yours: what is looked up costs your server a request.
        """


AnyAuthenticator = Authenticator[Any]  # each has a config type of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAuthenticator:
    """An authenticator as an operator put it to work.

    `kind`: the authenticator's own name.  `tenants`: those that it may let in; None = all.  `ca`:
    PEM file of the only authorities that certificates of its servers may be of.
    """

    name: str
    kind: str
    config: BaseModel
    tenants: frozenset[str] | None = None
    ca: str = ""
