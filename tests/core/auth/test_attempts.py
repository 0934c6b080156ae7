from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rigs.doors import (
    ACME,
    BETA,
    KEY,
    OTHER,
    OTHER_STORED,
    PEPPER,
    STORED,
    Door,
    headers,
    key_of,
    refused,
    ring,
)

from modgate.api.auth import Caller
from modgate.api.secret import Secret
from modgate.auth import attempts
from modgate.auth import keyring as module
from modgate.auth.attempts import Attempts
from modgate.auth.cache import KeyCache
from modgate.auth.gate import AdminGate, Gate
from modgate.auth.keyring import Keyring
from modgate.auth.keys import ROLES, new_key
from modgate.auth.table import KeyTable
from modgate.errors import RoleForbidden, TooManyAttempts, Unauthenticated
from modgate.problems import ConfigError

BURST = 20  # and then 20 a minute: RFD 35


def bad(number: int) -> Mapping[str, str]:
    """A key of the right shape that nobody has."""
    return headers(("x-api-key", key_of(f"bad {number}")[0]))


def told(door: Door, given: Mapping[str, str], now: float, client: str = "10.0.0.1") -> int:
    """The status that a request gets; 200 when it is let in."""
    try:
        door.authenticate(given, now, client=client)
    except (Unauthenticated, TooManyAttempts) as error:
        return error.status
    return 200


def test_after_the_burst_a_bad_key_is_told_to_wait_and_a_good_one_is_let_in() -> None:
    door = ring()

    assert [told(door, bad(n), 0.0) for n in range(BURST)] == [401] * BURST
    assert told(door, bad(-1), 0.0) == 429
    assert told(door, headers(("x-api-key", KEY)), 0.0) == 200
    assert told(door, bad(-2), 0.0, client="10.0.0.2") == 401


def test_what_an_address_may_fail_comes_back_with_time() -> None:
    door = ring()
    for number in range(50):
        told(door, bad(number), 0.0)
    with pytest.raises(TooManyAttempts) as caught:
        door.authenticate(bad(-1), 0.0)
    wait_s = caught.value.retry_after_s

    assert wait_s == pytest.approx(3.0)
    assert told(door, bad(-2), 2.9) == 429
    assert told(door, bad(-3), 6.1) == 401


def test_a_key_id_is_counted_over_all_addresses_and_its_holder_is_not_shut_out() -> None:
    door = ring()
    twin = [
        new_key(PEPPER, name="n", env="test", random=os.urandom, key_id=STORED.id)[0].reveal()
        for _ in range(BURST + 1)
    ]
    told_each = [
        told(door, headers(("x-api-key", key)), 0.0, client=f"10.0.1.{n}")
        for n, key in enumerate(twin)
    ]

    assert told_each == [401] * BURST + [429]
    assert told(door, headers(("x-api-key", KEY)), 0.0, client="10.0.1.1") == 200
    assert told(door, bad(0), 0.0, client="10.0.1.1") == 401


def test_beyond_the_limit_an_unknown_key_costs_no_digest_and_a_repeated_one_never_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digested: list[str] = []
    real = module.digest

    def digest(pepper: Secret, secret: str) -> str:
        digested.append(secret)
        return real(pepper, secret)

    monkeypatch.setattr(module, "digest", digest)
    door, same = ring(), bad(0)
    for _ in range(5):
        told(door, same, 0.0)
    assert len(digested) == 1

    for number in range(1, 1000):
        told(door, bad(number), 0.0)

    assert len(digested) <= BURST


def test_a_bad_key_that_was_made_good_meanwhile_is_let_in_once_keys_changed() -> None:
    counted, given = Attempts(), headers(("x-api-key", KEY))
    refused(ring((BETA, OTHER_STORED), counted=counted), given)
    door = ring(counted=counted)
    assert told(door, given, 1.0) == 401

    counted.forget_bad()

    assert told(door, given, 1.0) == 200


def test_a_bad_key_is_looked_at_again_after_five_seconds_however_often_it_came_meanwhile() -> None:
    counted, given = Attempts(), headers(("x-api-key", KEY))
    refused(ring((BETA, OTHER_STORED), counted=counted), given)
    door = ring(counted=counted)

    assert [told(door, given, now) for now in (1.0, 3.0, 4.9)] == [401] * 3
    assert told(door, given, 5.0) == 200


def test_addresses_and_bad_keys_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "COUNTED_AT_MOST", 10)
    monkeypatch.setattr(attempts, "BAD_AT_MOST", 10)
    counted = Attempts()
    door = ring(counted=counted)
    for number in range(30):
        told(door, bad(0), 0.0, client="10.0.0.0")
        told(door, bad(number), 0.0, client=f"10.0.0.{number}")

    assert len(counted.addresses) == 10
    assert len(counted.key_ids) == 0
    assert len(vars(counted)["_bad"]) == 10
    assert counted.spent("10.0.0.0", 0.0)  # who fails on is not the one to be forgotten
    assert list(vars(counted)["_bad"].values()) == [5.0] * 10


def test_the_addresses_of_one_customer_are_one() -> None:
    one, other = attempts.network_of("2001:db8::1"), attempts.network_of("2001:db8::ffff:2")

    assert one == other
    assert attempts.network_of("2001:db8:0:1::1") != one
    assert attempts.network_of("10.0.0.1") != attempts.network_of("10.0.0.2")
    assert attempts.network_of("no address") == ""


def test_the_old_digest_of_a_rotated_key_is_good_until_its_date_and_the_new_one_for_ever() -> None:
    old = replace(OTHER_STORED, until=1000.0)
    fresh, new = new_key(PEPPER, name="n", env="test", random=os.urandom, key_id=old.id)
    door = ring((BETA, old), (BETA, new))
    first, second = headers(("x-api-key", OTHER)), headers(("x-api-key", fresh.reveal()))

    assert door.authenticate(first, 0.0, wall=998.0) is BETA
    assert door.authenticate(second, 0.0, wall=998.0) is BETA
    assert door.authenticate(first, 1.9, wall=999.9) is BETA
    with pytest.raises(Unauthenticated):
        door.authenticate(first, 2.0, wall=1000.0)
    assert door.authenticate(second, 2.0, wall=1000.0) is BETA


def test_a_third_digest_of_one_id_is_a_problem() -> None:
    with pytest.raises(ConfigError, match="more than two digests"):
        ring(*((ACME, replace(STORED, digest=f"{n:064x}")) for n in range(3)))


def test_of_two_sources_that_know_an_id_the_first_counts() -> None:
    first = KeyTable.of([(ACME, STORED)])
    second = KeyTable.of([(BETA, replace(OTHER_STORED, id=STORED.id)), (BETA, OTHER_STORED)])
    gate = Gate(Keyring([first, second], pepper=PEPPER), attempts=Attempts(), cache=KeyCache())

    assert Door(gate).authenticate(headers(("x-api-key", KEY))) is ACME
    assert Door(gate).authenticate(headers(("x-api-key", OTHER))) is BETA


def staff(*roles: str, key: str | None = None) -> tuple[AdminGate, list[str]]:
    """The admin listener's gate, and a key for each role."""
    made = [
        new_key(PEPPER, name="n", env="test", random=os.urandom, role=ROLES[role]) for role in roles
    ]
    table = KeyTable.of(
        (Caller(tenant="", key_id=stored.id, role=stored.role), stored) for _, stored in made
    )
    gate = Gate(
        Keyring([table], pepper=PEPPER),
        attempts=Attempts(),
        cache=KeyCache(),
        roles=frozenset({"operator", "admin"}),
    )
    secret = Secret(key) if key is not None else None
    return AdminGate(gate, key=secret, open_=False), [each.reveal() for each, _ in made]


def test_the_admin_listener_knows_roles_and_refuses_a_tenants_key() -> None:
    gate, keys = staff("operator", "admin", "tenant", key="the root key")
    at = {"now": 0.0, "wall": 0.0, "client": ""}

    def role(key: str) -> str:
        return gate.authenticate({"x-api-key": key}, **at).role

    assert [role(key) for key in (*keys[:2], "the root key")] == ["operator", "admin", "admin"]
    with pytest.raises(RoleForbidden):
        role(keys[2])
    with pytest.raises(Unauthenticated):
        role("another root key")
    with pytest.raises(Unauthenticated):
        gate.authenticate({}, **at)


def test_an_operators_key_is_not_let_in_where_tenants_are() -> None:
    operator = Caller(tenant="", key_id=STORED.id, role="operator")
    with pytest.raises(RoleForbidden):
        ring((operator, STORED)).authenticate(headers(("x-api-key", KEY)))
