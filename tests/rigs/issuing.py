"""An issuer of tokens: private keys of every kind, its key set, and tokens that it signs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NAME = "https://id.example"
AUDIENCE = "modgate-tests"
KINDS = ("RS256", "ES256", "EdDSA")


def private(algorithm: str) -> Any:
    """A new private key that signs by this algorithm."""
    match algorithm:
        case "RS256" | "PS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    """A private key as a file holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Signing:
    """Keys by id; `document()` is their public half."""

    def __init__(self, *algorithms: str) -> None:
        self.keys = {f"key-{each}": (each, private(each)) for each in algorithms or KINDS}

    def document(self, **more: Any) -> bytes:
        """The key set."""
        writers = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}
        entries = [
            {
                **writers[algorithm[:2]].to_jwk(key.public_key(), as_dict=True),
                **{"kid": kid, "use": "sig", **more},
            }
            for kid, (algorithm, key) in self.keys.items()
        ]
        for entry in entries:
            entry.pop("key_ops", None)
        return json.dumps({"keys": entries}).encode()

    def token(
        self,
        wall: float,
        *,
        kid: str = "key-ES256",
        header: Mapping[str, Any] | None = None,
        drop: str = "",
        **claims: Any,
    ) -> str:
        """A token that is good for five minutes, unless the claims say otherwise."""
        algorithm, key = self.keys[kid]
        payload = {"iss": NAME, "aud": AUDIENCE, "sub": "somebody", "tenant": "acme"}
        times = {"iat": int(wall), "exp": int(wall) + 300}
        payload = {**payload, **times, **claims}
        payload.pop(drop, None)
        headers = {"typ": "JWT", "kid": kid, **(header or {})}
        return jwt.PyJWS().encode(json.dumps(payload).encode(), key, algorithm, headers)
