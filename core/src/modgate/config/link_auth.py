"""Linking `[auth]`: issuers that can be asked, tenants that exist, and a key where one signs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from modgate.api.authenticator import AnyAuthenticator, ConfiguredAuthenticator
from modgate.api.issuer import Issuer, KeyPlace, Signing
from modgate.config.addresses import HostPort
from modgate.config.lines import Path
from modgate.config.link_engines import linked_ca
from modgate.config.link_kinds import KindsLinker
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File
from modgate.config.schema_auth import JwksFile, JwtSection
from modgate.tracebacks import plain


class AuthLinker:
    """Links `[auth]`."""

    def __init__(
        self, file: File, kinds: Mapping[str, type[AnyAuthenticator]], mistakes: Mistakes
    ) -> None:
        self._file = file
        self._kinds = kinds
        self._mistakes = mistakes
        self._wrong, self._missing = mistakes.wrong, mistakes.missing

    def issuers(self) -> tuple[Issuer, ...]:
        """The issuers whose tokens are taken."""
        seen: dict[str, str] = {}
        found = []
        for name, section in self._file.auth.jwt.items():
            path = ("auth", "jwt", name)
            other = seen.setdefault(section.issuer, name)
            if other != name:
                text = f"is the issuer of [auth.jwt.{other}] already; name all audiences there"
                self._wrong((*path, "issuer"), text)
            self._usable(path, section)
            if (keys := self._place(path, section)) is not None:
                found.append(_issuer(name, section, keys))
        return tuple(found)

    def _usable(self, path: Path, section: JwtSection) -> None:
        if section.roles and not section.role_claim:
            text = "needs 'role_claim', the claim whose values these are"
            self._wrong((*path, "roles"), text)
        if section.role_claim and not section.roles:
            text = 'gives nobody a role: add roles = { "VALUE OF THE CLAIM" = "operator" }'
            self._missing((*path, "role_claim"), text, *map(str, path), "roles")
        if not section.algorithms:
            at = (*path, "algorithms")
            self._missing(at, "names no algorithm, so no token would be good", *map(str, at))
        audience = _audience(section)
        if not audience or "" in audience:
            self._wrong((*path, "audience"), "names no audience: tokens for others would be taken")

    def _place(self, path: Path, section: JwtSection) -> KeyPlace | None:
        at = (*path, "jwks")
        if isinstance(section.jwks, JwksFile):
            try:
                return KeyPlace(document=section.jwks.file.read_bytes())
            except OSError as error:
                self._wrong((*at, "file"), f"cannot be read: {plain(error)}")
                return None
        if reason := _unsafe(section.jwks):
            self._wrong(at, reason)
        return KeyPlace(url=section.jwks, ca=linked_ca((*path, "ca"), section.ca, self._mistakes))

    def signing(self) -> Signing | None:
        """How calls are signed."""
        section = self._file.auth.sign
        for at, backend in self._file.engines:
            path = (*at, "sign")
            if backend.sign and section is None:
                text = 'needs a key to sign with: add [auth.sign] issuer = "..." and keys = [...]'
                self._missing(path, text, "auth", "sign")
            if backend.sign and backend.key is not None:
                self._wrong(path, "is sent in place of 'key', as Authorization: keep one of them")
        if section is None:
            return None
        return Signing(issuer=section.issuer, keys=section.keys, lifetime_s=section.lifetime)

    def authenticators(self) -> Iterator[ConfiguredAuthenticator]:
        """The authenticators of plugins that were put to work."""
        front = ("auth", "plugin")
        linker = KindsLinker("authenticator", front, self._mistakes)
        for put in linker.put(self._file.auth.plugin, self._kinds):
            tenants = put.section.tenants
            yield ConfiguredAuthenticator(
                name=put.name,
                kind=put.kind.name,
                config=put.config,
                tenants=frozenset(tenants) if tenants is not None else None,
                ca=linked_ca((*put.path, "ca"), put.section.ca, self._mistakes),
            )


def _audience(section: JwtSection) -> frozenset[str]:
    named = section.audience
    return frozenset({named} if isinstance(named, str) else named)


def _issuer(name: str, section: JwtSection, keys: KeyPlace) -> Issuer:
    return Issuer(
        name=name,
        issuer=section.issuer,
        audience=_audience(section),
        keys=keys,
        algorithms=frozenset(section.algorithms),
        tenant=section.tenant,
        tenant_claim=section.tenant_claim,
        role_claim=section.role_claim,
        roles=section.roles,
        leeway_s=section.leeway,
        lifetime_s=section.lifetime,
    )


def _unsafe(url: str) -> str:
    """Why keys cannot be had from there; '' when they can."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return 'reads "https://HOST/PATH" or { file = "PATH" }'
    if parts.scheme == "http" and not HostPort(host, port or 80).loopback:
        return "must begin with https://: whoever changes the keys on the way can sign"
    return ""
