"""Our own signature on calls to backends: who asks, for whom, and for how long it is good."""

from __future__ import annotations

from collections.abc import Callable

from modgate.api.issuer import Signing
from modgate.api.surface import dump
from modgate.auth.jose import Signer


class Signature:
    """Signs with the first key; `jwks` shows the public part of all, for backends to check by.

    To rotate: put the new key second until backends have read it, then first.
    """

    def __init__(self, signing: Signing, wall: Callable[[], float]) -> None:
        signers = [Signer(pem) for pem in signing.keys]
        self._first = signers[0]
        self._issuer = signing.issuer
        self._lifetime_s = signing.lifetime_s
        self._wall = wall
        self.jwks = dump({"keys": [signer.jwk for signer in signers]})

    def token(self, *, backend: str, tenant: str, request_id: str, attempt: str) -> str:
        """A token for one attempt of one call."""
        now = int(self._wall())
        return self._first.sign(
            {
                "iss": self._issuer,
                "aud": backend,
                "sub": tenant,
                "iat": now,
                "exp": now + max(1, int(self._lifetime_s)),
                "jti": f"{request_id}.{attempt}",
                "request_id": request_id,
            }
        )
