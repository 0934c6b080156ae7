"""The types of `[auth]`: keys, tokens of issuers, and our own signature."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from modgate.config.schema_kinds import AuthenticatorSection
from modgate.config.section import Section
from modgate.config.values import Duration, SecretValue

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class JwksFile(Section):
    """A key set that lies here."""

    file: Path = Field(description="a JSON Web Key Set; read again when it changes")


class JwtSection(Section):
    """An issuer whose JWTs are taken in place of keys; needs modgate[jwt]."""

    issuer: str = Field(min_length=1, description="what `iss` must be, letter by letter")
    audience: str | tuple[str, ...] = Field(description="what `aud` must be or hold")
    jwks: str | JwksFile = Field(description='its keys: "https://..." or { file = "PATH" }')
    ca: Path | None = Field(
        None, description="PEM file of the only authorities that the certificate may be of"
    )
    algorithms: tuple[Algorithm, ...] = Field(
        ("RS256", "ES256", "EdDSA"), description="signatures that are taken"
    )
    tenant: str = Field("", description="whose all its tokens are; else `tenant_claim` says it")
    tenant_claim: str = Field("tenant", description="the claim that names the tenant")
    role_claim: str = Field("", description="the claim that `roles` looks at")
    roles: dict[str, Literal["operator", "admin"]] = Field(
        {}, description="value of that claim = role; no value, no role"
    )
    leeway: Duration = Field(60.0, description="by how much clocks may differ")
    lifetime: Duration = Field(86_400.0, description="tokens that live longer are refused")


class SignSection(Section):
    """Our own signature on calls to backends with `sign = true`; needs modgate[jwt]."""

    issuer: str = Field(min_length=1, description="what `iss` says")
    keys: tuple[SecretValue, ...] = Field(
        min_length=1,
        max_length=2,
        description="private keys, PEM, Ed25519 or P-256; the first signs, both are published",
    )
    lifetime: Duration = Field(60.0, description="how long a signature is good")


class Auth(Section):
    """Who may call, and who we say that we are."""

    pepper: SecretValue | None = Field(None, description="keys the digests of API keys; static")
    store: Path | None = Field(
        None,
        description="tenants and keys of the admin API; default `tenants.db` in the state; static",
    )
    jwt: dict[str, JwtSection] = Field({}, description="issuers of tokens by a name of ours")
    plugin: dict[str, AuthenticatorSection] = Field(
        {}, description="authenticators of plugins, in the order that they are asked in"
    )
    sign: SignSection | None = Field(None, description="our own signature")
