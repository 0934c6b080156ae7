from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from modgate.api.auth import Caller, Limits, Policy, Rate
from modgate.api.secret import Secret
from modgate.api.surface import openai_error
from modgate.auth import attempts
from modgate.auth import cache as caching
from modgate.auth import keyring as module
from modgate.auth.attempts import BURST, Attempts
from modgate.auth.cache import CACHE_S, KeyCache
from modgate.auth.gate import AdminGate, Gate
from modgate.auth.keyring import Keyring
from modgate.auth.keys import ROLES, StoredKey, new_key
from modgate.auth.table import KeyTable
from modgate.errors import ConfigError, RoleForbidden, TooManyAttempts, Unauthenticated

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
    return CIMultiDict(pairs)


def refused(found: Door, given: Mapping[str, str], now: float = 0.0) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        found.authenticate(given, now)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer {KEY}"),
        ("AUTHORIZATION", f"BEARER   {KEY} "),
        ("x-api-key", KEY),
        ("X-Api-Key", f" {KEY} "),
        ("api-key", KEY),
    ],
)
def test_a_key_is_found_in_each_of_the_headers_in_any_case(name: str, value: str) -> None:
    assert ring().authenticate(headers((name, value)), 0.0) is ACME


def test_each_key_is_its_own_tenants() -> None:
    found = ring()

    assert found.authenticate(headers(("x-api-key", KEY)), 0.0).tenant == "acme"
    assert found.authenticate(headers(("x-api-key", OTHER)), 0.0).tenant == "beta"


def test_the_same_key_in_several_headers_is_one_key() -> None:
    given = headers(("authorization", f"Bearer {KEY}"), ("x-api-key", KEY), ("api-key", KEY))

    assert ring().authenticate(given, 0.0) is ACME


@pytest.mark.parametrize(
    "pairs",
    [
        (("authorization", f"Bearer {KEY}"), ("x-api-key", OTHER)),
        (("x-api-key", KEY), ("api-key", OTHER)),
        (("x-api-key", KEY), ("api-key", "nonsense")),
        (("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {OTHER}")),
        (("x-api-key", KEY), ("x-api-key", OTHER)),
    ],
)
def test_keys_that_disagree_are_refused_though_each_may_be_good(
    pairs: tuple[tuple[str, str], ...],
) -> None:
    error = refused(ring(), headers(*pairs))

    assert "disagree" in error.message
    assert openai_error(error)["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer   "),),
        (("authorization", f"Basic {KEY}"),),
        (("authorization", KEY),),
        (("x-api-key", "  "),),
    ],
)
def test_no_key_is_told_apart_from_a_bad_one(pairs: tuple[tuple[str, str], ...]) -> None:
    error = refused(ring(), headers(*pairs))

    assert openai_error(error)["code"] is None
    assert error.status == 401


def test_another_scheme_does_not_hide_the_key_beside_it() -> None:
    given = headers(("authorization", "Basic dXNlcjpwYXNz"), ("x-api-key", KEY))

    assert ring().authenticate(given, 0.0) is ACME


def test_an_unknown_key_of_the_right_shape_is_refused() -> None:
    stranger, _ = key_of("stranger")

    assert openai_error(refused(ring(), headers(("x-api-key", stranger))))["code"] == (
        "invalid_api_key"
    )


def test_a_known_id_with_another_secret_is_refused() -> None:
    stranger, stored = key_of("stranger")
    found = ring((ACME, StoredKey(id=stored.id, digest=STORED.digest)))

    refused(found, headers(("x-api-key", stranger)))


def test_an_unknown_id_costs_a_digest_and_a_comparison_like_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []
    real = module.hmac.compare_digest

    def compare(one: str, two: str) -> bool:
        compared.append(len(one) * len(two))
        return real(one, two)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    stranger, _ = key_of("stranger")
    refused(ring(), headers(("x-api-key", stranger)))

    assert compared == [64 * 64]


def test_two_digests_of_an_id_are_good_while_it_is_rotated() -> None:
    again = StoredKey(id=OTHER_STORED.id, digest=STORED.digest)
    found = ring((BETA, again), (BETA, OTHER_STORED))

    assert found.authenticate(headers(("x-api-key", OTHER)), 0.0) is BETA


def test_an_id_that_two_tenants_hold_is_a_problem_and_not_a_way_into_the_other() -> None:
    twin = StoredKey(id=STORED.id, digest=OTHER_STORED.digest)

    with pytest.raises(ConfigError) as caught:
        ring((ACME, STORED), (BETA, twin))

    (problem,) = caught.value.problems
    assert problem.path == "tenant.beta.keys"
    assert STORED.id in problem.message
    assert "acme" in problem.message


def test_a_good_key_is_not_digested_again_for_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digested: list[float] = []
    real = module.digest

    def digest(pepper: Secret, secret: str) -> str:
        digested.append(1)
        return real(pepper, secret)

    monkeypatch.setattr(module, "digest", digest)
    found, given = ring(), headers(("x-api-key", KEY))
    for now in (0.0, 1.0, CACHE_S - 0.001):
        found.authenticate(given, now)
    assert len(digested) == 1

    found.authenticate(given, CACHE_S)

    assert len(digested) == 2


def test_a_bad_key_is_not_remembered() -> None:
    cache = KeyCache()
    refused(ring(cache=cache), headers(("x-api-key", "nonsense")))

    assert len(cache) == 0


def test_the_cache_does_not_hold_the_key_itself() -> None:
    cache = KeyCache()
    ring(cache=cache).authenticate(headers(("x-api-key", KEY)), 0.0)

    assert len(cache) == 1
    assert KEY.split("_")[3] not in repr(vars(cache))


def test_the_cache_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "CACHE_AT_MOST", 3)
    cache = KeyCache()
    for index in range(5):
        cache.put(bytes([index]), ACME, 0.0)

    assert len(cache) == 3
    assert cache.get(b"\x00", 0.0) is None
    assert cache.get(b"\x04", 0.0) is ACME


def test_a_key_that_was_taken_away_is_refused_once_the_cache_was_dropped() -> None:
    cache, given = KeyCache(), headers(("x-api-key", KEY))
    ring(cache=cache).authenticate(given, 0.0)
    cache.clear()

    refused(ring((BETA, OTHER_STORED), cache=cache), given, 0.1)


def test_a_policy_that_was_changed_counts_once_the_cache_was_dropped() -> None:
    cache, given = KeyCache(), headers(("x-api-key", KEY))
    ring(cache=cache).authenticate(given, 0.0)
    cache.clear()
    rates = (Rate(unit="requests", amount=1, period="second"),)
    tight = Caller(tenant="acme", key_id=STORED.id, policy=Policy(limits=Limits(rates=rates)))

    assert ring((tight, STORED), cache=cache).authenticate(given, 0.1) is tight


names = st.sampled_from(["authorization", "x-api-key", "api-key", "Authorization", "cookie"])
values = st.one_of(
    st.text(max_size=100),
    st.text(alphabet=st.characters(), max_size=100).map(lambda text: f"Bearer {text}"),
    st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(alphabet=[chr(code) for code in range(0xD800, 0xD810)], max_size=5),
    st.integers(0, len(KEY) - 1).map(lambda cut: "Bearer " + KEY[:cut]),
    st.sampled_from(["x" * 20_000, "mg_" * 5_000, f"Bearer {KEY[:-1]}!", f"bearer\t{KEY}"]),
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.tuples(names, values), max_size=4))
def test_whatever_the_headers_hold_only_unauthenticated_comes_out_and_says_no_key(
    pairs: list[tuple[str, str]],
) -> None:
    found = ring()
    try:
        found.authenticate(CIMultiDict(pairs), 0.0)
    except Unauthenticated as error:
        shown = f"{error.message} {error!r}"
        secrets = [value.strip() for _, value in pairs if len(value.strip()) > 8]
        assert not any(secret in shown for secret in secrets)
    else:
        pytest.fail("nobody's key was let in")


def test_a_plain_mapping_of_lower_case_names_will_do() -> None:
    assert ring().authenticate({"x-api-key": KEY}, 0.0) is ACME


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


def test_addresses_and_bad_keys_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "COUNTED_AT_MOST", 10)
    monkeypatch.setattr(attempts, "BAD_AT_MOST", 10)
    counted = Attempts()
    door = ring(counted=counted)
    for number in range(30):
        told(door, bad(number), 0.0, client=f"10.0.0.{number}")

    assert len(counted.addresses) == 10
    assert len(counted.key_ids) == 0
    assert len(vars(counted)["_bad"]) == 10


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


def staff(*roles: str, key: str | None = None, open_: bool = False) -> tuple[AdminGate, list[str]]:
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
    return AdminGate(gate, key=secret, open_=open_), [each.reveal() for each, _ in made]


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
