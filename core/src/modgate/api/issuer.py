"""Who signs tokens that callers come with, and what is believed of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modgate.api.auth import Role
from modgate.api.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """Where an issuer's public keys are: a URL to ask, or a document that was read from a file.

    `ca`: PEM file of the only authorities that the URL's certificate may be of.
    """

    url: str = ""
    ca: str = ""
    document: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One issuer of JWTs.

    `name` is ours; `issuer` and `audience` are compared whole with `iss` and `aud`.  `tenant`:
    whose all its tokens are; else the claim `tenant_claim` says it.  `roles`: values of
    `role_claim` that make an operator or an admin of a caller; no others do.
    """

    name: str
    issuer: str
    audience: frozenset[str]
    keys: KeyPlace
    algorithms: frozenset[str]
    tenant: str = ""
    tenant_claim: str = "tenant"
    role_claim: str = ""
    roles: Mapping[str, Role] = field(default_factory=dict)
    leeway_s: float = 60.0
    lifetime_s: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How calls to engines are signed: with the first key; the public part of each is shown."""

    issuer: str
    keys: tuple[Secret, ...]
    lifetime_s: float = 60.0
