"""Tokens of issuers that the operator named, checked by their public keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import sha256

from modgate.api.auth import Caller, Policy, Role
from modgate.api.issuer import Issuer
from modgate.api.json import Json, JsonObject
from modgate.auth.jose import PublicKey, Token, parse_jwks, read, signed_by
from modgate.auth.keysets import KeySets
from modgate.auth.verdict import Bad, Good, Later, Moment, Verdict
from modgate.errors import Unasked

REMEMBERED_S = 60.0
NOT_VALID = Bad(message="the token is not valid")

PolicyOf = Callable[[str], Policy | None]


class Tokens:
    """Checks JWTs.  `policy_of(tenant)`: what a tenant may do; None when there is no such one.

    ValueError for a document of keys that is none.
    """

    def __init__(self, issuers: Iterable[Issuer], sets: KeySets, policy_of: PolicyOf) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._read: Mapping[str, Mapping[str, PublicKey]] = {
            name: parse_jwks(issuer.keys.document)
            for name, issuer in self._issuers.items()
            if not issuer.keys.url
        }
        self._sets = sets
        self._policy_of = policy_of

    def check(self, text: str, at: Moment) -> Verdict:
        """Whose token it is; None for what is no token of these issuers."""
        token = read(text)
        said = token.claims.get("iss") if token is not None else None
        issuer = self._issuers.get(said) if isinstance(said, str) else None
        if token is None or issuer is None:
            return None
        if token.algorithm not in issuer.algorithms:
            return NOT_VALID
        if not issuer.keys.url:
            key = self._read[issuer.issuer].get(token.kid)
            return self._judged(text, token, issuer, key, at)
        looked = self._sets.of(issuer.keys).look(token.kid, at.now)
        if looked.ask == "first" or (looked.key is None and self._sets.asking(issuer.keys)):
            return Later(partial(self._after_asking, text, token, issuer, at))
        if looked.ask == "behind":
            self._sets.ask_behind(issuer.keys, issuer.name)
        return self._looked(text, token, issuer, looked.key, at)

    async def _after_asking(
        self, text: str, token: Token, issuer: Issuer, at: Moment
    ) -> Good | Bad:
        now = await self._sets.ask(issuer.keys, issuer.name)
        key = self._sets.of(issuer.keys).look(token.kid, now).key
        return self._looked(text, token, issuer, key, at)

    def _looked(
        self, text: str, token: Token, issuer: Issuer, key: PublicKey | None, at: Moment
    ) -> Good | Bad:
        if key is None and not self._sets.of(issuer.keys).usable(at.now):
            raise Unasked(f"the keys of the issuer '{issuer.name}' cannot be had now")
        return self._judged(text, token, issuer, key, at)

    def _judged(
        self, text: str, token: Token, issuer: Issuer, key: PublicKey | None, at: Moment
    ) -> Good | Bad:
        if key is None or not signed_by(text, key, token.algorithm):
            return NOT_VALID
        if (wrong := refusal(token.claims, issuer, at.wall)) is not None:
            return Bad(message=wrong, counted=False)  # it is genuine, so nobody guesses
        caller = self._caller(token.claims, issuer)
        if caller is None:
            text = "the token names no tenant of this gateway, and no role that it knows"
            return Bad(message=text, counted=False)
        left_s = token.claims["exp"] + issuer.leeway_s - at.wall
        return Good(caller=caller, for_s=min(REMEMBERED_S, left_s))

    def _caller(self, claims: JsonObject, issuer: Issuer) -> Caller | None:
        key_id = f"jwt:{issuer.name}:{_short(claims.get('sub'))}"
        role = _role(claims, issuer)
        if role != "tenant":
            return Caller(tenant="", key_id=key_id, role=role)
        tenant = issuer.tenant or claim(claims, issuer.tenant_claim)
        policy = self._policy_of(tenant) if isinstance(tenant, str) else None
        if policy is None:
            return None
        return Caller(tenant=str(tenant), key_id=key_id, policy=policy)


def refusal(claims: JsonObject, issuer: Issuer, wall: float) -> str | None:
    """Why a token that is genuine is not taken; None when it is."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(each, str) and each in issuer.audience for each in named):
        return "the token is for another audience"
    exp, leeway_s = _time(claims, "exp"), issuer.leeway_s
    if exp is None:
        return "the token does not say when it ends ('exp')"
    if wall >= exp + leeway_s:
        return "the token has run out; get a new one"
    began, made = _time(claims, "nbf", wall), _time(claims, "iat", wall)
    if began is None or made is None or max(began, made) > wall + leeway_s:
        return "the token is not good yet"
    if exp - made > issuer.lifetime_s:
        return f"the token lives longer than {issuer.lifetime_s:g} seconds"
    return None


def claim(claims: JsonObject, name: str) -> Json:
    """A claim by its name, else by the path that the name reads as (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    found: Json = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _role(claims: JsonObject, issuer: Issuer) -> Role:
    """The highest role that the operator gave to one of the claim's values."""
    if not issuer.role_claim:
        return "tenant"
    said = claim(claims, issuer.role_claim)
    values = said if isinstance(said, list) else [said]
    roles = {issuer.roles.get(each) for each in values if isinstance(each, str)}
    return "admin" if "admin" in roles else "operator" if "operator" in roles else "tenant"


def _time(claims: JsonObject, name: str, absent: float | None = None) -> float | None:
    """A claim in unix seconds; None for what is none."""
    value = claims.get(name, absent)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _short(subject: Json) -> str:
    """A subject as logs and the ledger may have it: it can be somebody's address."""
    return sha256(str(subject).encode("utf-8", "surrogatepass")).hexdigest()[:12]
