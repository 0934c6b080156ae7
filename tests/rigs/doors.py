"""A gate over two keys, at times and addresses that a test need not say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from modgate.api.auth import Caller
from modgate.api.secret import Secret
from modgate.auth.attempts import Attempts
from modgate.auth.cache import KeyCache
from modgate.auth.gate import Gate
from modgate.auth.keyring import Keyring
from modgate.auth.keys import StoredKey, new_key
from modgate.auth.table import KeyTable
from modgate.errors import Unauthenticated

PEPPER = Secret("a pepper of the tests")


def key_of(name: str = "n") -> tuple[str, StoredKey]:
    key, stored = new_key(PEPPER, name=name, env="test", random=os.urandom)
    return key.reveal(), stored


KEY, STORED = key_of()
OTHER, OTHER_STORED = key_of("other")
ACME = Caller(tenant="acme", key_id=STORED.id)
BETA = Caller(tenant="beta", key_id=OTHER_STORED.id)


@dataclass
class Door:
    """A gate, at times and addresses that a test need not say."""

    gate: Gate

    def authenticate(
        self,
        given: Mapping[str, str],
        now: float = 0.0,
        *,
        wall: float = 1e9,
        client: str = "10.0.0.1",
    ) -> Caller:
        return self.gate.authenticate(given, now=now, wall=wall, client=client)


def ring(
    *keys: tuple[Caller, StoredKey],
    cache: KeyCache | None = None,
    counted: Attempts | None = None,
) -> Door:
    table = KeyTable.of(keys or ((ACME, STORED), (BETA, OTHER_STORED)))
    gate = Gate(
        Keyring([table], pepper=PEPPER),
        attempts=counted if counted is not None else Attempts(),
        cache=cache if cache is not None else KeyCache(),
    )
    return Door(gate)


def headers(*pairs: tuple[str, str]) -> Mapping[str, str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


def refused(found: Door, given: Mapping[str, str], now: float = 0.0) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        found.authenticate(given, now)
    return caught.value
