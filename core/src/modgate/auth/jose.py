"""JOSE by PyJWT: tokens taken apart, signatures checked and made, key sets read and written.

The only file that imports it; it comes with the extra `jwt`.  An algorithm is used if the issuer's
list has it AND the key is of its kind, so a public key is never taken for a shared secret, and
`none` is no algorithm.  `jku`, `x5u` and `jwk` in a token are never looked at; a `crit` refuses it.
Source: RFC 7515, 7517, 7638, 8725.
"""

from __future__ import annotations

import base64
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from modgate.api.json import Json, JsonObject
from modgate.api.secret import Secret

TOKEN_AT_MOST = 8192
JWKS_AT_MOST = 64 << 10
KEYS_AT_MOST = 20
RSA_BITS_LEAST = 2048
TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt", "application/jwt"})
RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

Public = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
_JWS = jwt.PyJWS()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key of an issuer; `shown` is its JWK, by which two are the same."""

    shown: str
    algorithms: frozenset[str]
    key: Public = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A JWT taken apart; nothing of it is believed yet."""

    algorithm: str
    kid: str
    claims: JsonObject


def read(text: str) -> Token | None:
    """A token's parts; None for what is none, or none of a kind that is ever taken."""
    if len(text) > TOKEN_AT_MOST or text.count(".") != 2:
        return None
    try:
        parts = _JWS.decode_complete(text, options={"verify_signature": False})
        claims = orjson.loads(parts["payload"])
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    header = parts["header"]
    kid, kind, algorithm = header.get("kid"), header.get("typ", ""), header.get("alg")
    plain = isinstance(claims, dict) and isinstance(kid, str) and isinstance(algorithm, str)
    if not plain or "crit" in header or "b64" in header or str(kind).lower() not in TYPES:
        return None
    return Token(algorithm=str(algorithm), kid=str(kid), claims=claims)


def signed_by(text: str, key: PublicKey, algorithm: str) -> bool:
    """Whether the token was signed with this key by this algorithm."""
    if algorithm not in key.algorithms:
        return False
    try:
        _JWS.decode_complete(text, key.key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError):
        return False
    return True


def parse_jwks(raw: bytes) -> Mapping[str, PublicKey]:
    """The keys of a document by their id; ValueError for what is no key set.

    Keys that are not for signatures, have no id, are secrets, or are weak are left out.
    """
    if len(raw) > JWKS_AT_MOST:
        raise ValueError(f"the key set has more than {JWKS_AT_MOST} bytes")
    document = orjson.loads(raw.removeprefix(BOM_UTF8))
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the document is no key set: it has no list 'keys'")
    if len(entries) > KEYS_AT_MOST:
        raise ValueError(f"the key set has more than {KEYS_AT_MOST} keys")
    found: dict[str, PublicKey] = {}
    for entry in entries:
        if isinstance(entry, dict) and (key := _public(entry)) is not None:
            found.setdefault(str(entry["kid"]), key)
    if not found:
        raise ValueError("the key set has no public key with an id that can check signatures")
    return found


def _public(entry: JsonObject) -> PublicKey | None:
    if not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
        return None
    try:
        key = _loaded(entry)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key is None:
        return None
    only = entry.get("alg")
    fitting = frozenset(each for each in _algorithms(key) if only in (None, each))
    if not fitting:
        return None
    shown = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS).decode()
    return PublicKey(shown=shown, algorithms=fitting, key=key)


def _loaded(entry: JsonObject) -> Public | None:
    """A public key; None for a kind that is not taken, and for a private one."""
    readers: Mapping[str, Callable[[JsonObject], object]] = {
        "RSA": RSAAlgorithm.from_jwk,
        "EC": ECAlgorithm.from_jwk,
        "OKP": OKPAlgorithm.from_jwk,
    }
    reader = readers.get(str(entry.get("kty")))
    key = reader(dict(entry)) if reader is not None else None
    return key if isinstance(key, Public) else None


def _algorithms(key: Public) -> frozenset[str]:
    """What a key of this kind can check."""
    match key:
        case RSAPublicKey():
            return RSA if key.key_size >= RSA_BITS_LEAST else frozenset()
        case EllipticCurvePublicKey():
            name = CURVES.get(key.curve.name)
            return frozenset({name}) if name else frozenset()
        case _:
            return frozenset({"EdDSA"})


class Signer:
    """Signs with one private key: PEM, Ed25519 or P-256.  ValueError for another one."""

    def __init__(self, pem: Secret) -> None:
        try:
            key = load_pem_private_key(pem.reveal().encode(), password=None)
        except (ValueError, TypeError):
            raise ValueError("holds no private key in PEM, without a password") from None
        if isinstance(key, Ed25519PrivateKey):
            self.algorithm = "EdDSA"
            public: JsonObject = dict(OKPAlgorithm.to_jwk(key.public_key(), as_dict=True))
        elif isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
            self.algorithm = "ES256"
            public = dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
        else:
            raise ValueError("must be an Ed25519 or a P-256 key")
        self._key = key
        public.pop("key_ops", None)
        self.kid = thumbprint(public)
        self.jwk: JsonObject = {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}
        self._headers = {"kid": self.kid, "typ": "JWT"}

    def sign(self, claims: JsonObject) -> str:
        """A JWS of these claims."""
        payload = orjson.dumps(claims)
        return _JWS.encode(payload, self._key, algorithm=self.algorithm, headers=self._headers)


def thumbprint(jwk: Mapping[str, Json]) -> str:
    """A key's name by itself: the SHA-256 of its needed members.  Source: RFC 7638."""
    needed = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    mark = sha256(orjson.dumps(needed, option=orjson.OPT_SORT_KEYS)).digest()
    return base64.urlsafe_b64encode(mark).rstrip(b"=").decode()
