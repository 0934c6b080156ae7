from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from rigs.doors import (
    ACME,
    BETA,
    KEY,
    OTHER,
    OTHER_STORED,
    PEPPER,
    STORED,
    headers,
    key_of,
    refused,
    ring,
)

from modgate.api.auth import Caller, Limits, Policy, Rate
from modgate.api.secret import Secret
from modgate.api.surface import openai_error
from modgate.auth import cache as caching
from modgate.auth import keyring as module
from modgate.auth.attempts import Attempts
from modgate.auth.cache import KeyCache
from modgate.auth.gate import AdminGate, Gate
from modgate.auth.keyring import Keyring
from modgate.auth.keys import StoredKey
from modgate.auth.verdict import Bad, Good, Later, Moment, Pending, Verdict
from modgate.errors import Unauthenticated
from modgate.problems import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer {}"),
        ("authorization", "bearer {}"),
        ("AUTHORIZATION", "BEARER   {} "),
        ("x-api-key", "{}"),
        ("X-Api-Key", " {} "),
        ("api-key", "{}"),
    ],
)
def test_a_key_is_found_in_each_of_the_headers_in_any_case(name: str, value: str) -> None:
    assert ring().authenticate(headers((name, value.format(KEY))), 0.0) is ACME


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
    for now in (0.0, 1.0, 4.999):
        found.authenticate(given, now)
    assert len(digested) == 1

    found.authenticate(given, 5.0)

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


@pytest.mark.slow
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


class Says:
    """A checker that says this, at once or when it is waited for."""

    def __init__(self, verdict: Good | Bad | None, *, later: bool) -> None:
        self.verdict = verdict
        self.later = later
        self.asked = 0

    def check(self, text: str, at: Moment) -> Verdict:
        self.asked += 1
        return Later(self.answer) if self.later else self.verdict

    async def answer(self) -> Good | Bad | None:
        return self.verdict


async def asked(checkers: Sequence[Says]) -> Caller:
    gate = Gate(
        Keyring([], pepper=PEPPER), attempts=Attempts(), cache=KeyCache(), checkers=checkers
    )
    try:
        return gate.authenticate({"x-api-key": "a token"}, now=0.0, wall=0.0, client="10.0.0.1")
    except Pending as pending:
        return await pending.caller()


@pytest.mark.parametrize("later", [*product([False, True], repeat=3)])
async def test_checkers_are_asked_one_after_the_other_also_where_each_is_waited_for(
    later: tuple[bool, bool, bool],
) -> None:
    verdicts = [None, None, Good(caller=ACME, for_s=1.0)]
    good = [Says(verdict, later=each) for verdict, each in zip(verdicts, later, strict=True)]
    bad = [Says(each, later=later[0]) for each in (None, Bad(message="no"), verdicts[2])]
    nobodys = [Says(None, later=each) for each in later]

    assert await asked(good) is ACME
    for checkers in (bad, nobodys):
        with pytest.raises(Unauthenticated):
            await asked(checkers)
    assert [each.asked for each in good + bad + nobodys] == [1, 1, 1, 1, 1, 0, 1, 1, 1]


def test_without_a_key_of_its_own_an_admin_listener_is_open_only_where_it_is_said_to_be() -> None:
    gate = Gate(Keyring([], pepper=PEPPER), attempts=Attempts(), cache=KeyCache())
    shut, open_ = (AdminGate(gate, key=None, open_=each) for each in (False, True))

    assert open_.authenticate({}, now=0.0, wall=0.0, client="").role == "admin"
    for shown in ({}, {"x-api-key": "None"}, {"x-api-key": KEY}):
        with pytest.raises(Unauthenticated):
            shut.authenticate(shown, now=0.0, wall=0.0, client="")
