from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rigs.doors import PEPPER
from rigs.issuing import AUDIENCE, KINDS, NAME, Signing

from modgate.api.auth import Caller, Policy
from modgate.api.issuer import Issuer, KeyPlace
from modgate.auth.attempts import Attempts
from modgate.auth.cache import KeyCache
from modgate.auth.gate import Gate
from modgate.auth.keyring import Keyring
from modgate.auth.keyset import COOLDOWN_S
from modgate.auth.keysets import KeySets
from modgate.auth.tokens import Tokens
from modgate.auth.verdict import Pending
from modgate.errors import (
    GatewayError,
    RoleForbidden,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)
from modgate.testing import FakeClock

WALL = 1_800_000_000.0
URL = "https://id.example/jwks.json"
PLACE = KeyPlace(url=URL)
POLICIES = {"acme": Policy(slo="gold"), "beta": Policy()}
ISSUER = Issuer(
    name="corp",
    issuer=NAME,
    audience=frozenset({AUDIENCE}),
    keys=PLACE,
    algorithms=frozenset(KINDS),
)
SIGNING = Signing()


class Place:
    """An issuer's key set behind a fetch that a test slows and breaks."""

    def __init__(self, signing: Signing, *, down: bool = False) -> None:
        self.signing = signing
        self.asked = 0
        self.down = down
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, url: str, ca: str) -> bytes:
        assert (url, ca) == (URL, "")
        self.asked += 1
        await self.gate.wait()
        if self.down:
            raise OSError("no route")
        return self.signing.document()


class Rig:
    """A gate that takes an issuer's tokens, by a clock that a test moves."""

    def __init__(self, issuer: Issuer = ISSUER, place: Place | None = None, **more: Any) -> None:
        self.clock = FakeClock()
        self.place = place or Place(SIGNING)
        self.cache = KeyCache()
        self.sets = KeySets(self.place.get, self.clock, self.cache.clear)
        self.gate = Gate(
            Keyring([], pepper=PEPPER),
            attempts=Attempts(),
            cache=self.cache,
            checkers=[Tokens([issuer], self.sets, POLICIES.get)],
            **more,
        )

    def at_once(self, token: str, wall: float = WALL) -> Caller:
        headers = {"authorization": f"Bearer {token}"}
        now = self.clock.now()
        return self.gate.authenticate(headers, now=now, wall=wall, client="10.0.0.1")

    async def caller(self, token: str, wall: float = WALL) -> Caller:
        try:
            return self.at_once(token, wall)
        except Pending as pending:
            return await pending.caller()

    async def refused(self, token: str, wall: float = WALL) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.caller(token, wall)
        return caught.value


@pytest.mark.parametrize("kid", [f"key-{kind}" for kind in KINDS])
async def test_a_token_is_taken_and_from_then_on_without_waiting(kid: str) -> None:
    rig = Rig()
    token = SIGNING.token(WALL, kid=kid)
    caller = await rig.caller(token)

    assert (caller.tenant, caller.role, caller.policy.slo) == ("acme", "tenant", "gold")
    assert caller.key_id.startswith("jwt:corp:")
    assert "somebody" not in caller.key_id
    assert rig.at_once(token) is caller
    assert rig.at_once(SIGNING.token(WALL, kid=kid, jti="another")) == caller
    assert rig.place.asked == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"aud": AUDIENCE + "x"},
        {"aud": [AUDIENCE[:-1], "x"]},
        {"aud": None},
        {"aud": {AUDIENCE: 1}},
        {"exp": WALL - 60},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": WALL + 61},
        {"nbf": "later"},
        {"nbf": True},
        {"iat": "now"},
        {"iat": WALL + 61},
        {"exp": WALL + 86_401},
        {"tenant": "nobody"},
        {"tenant": None},
        {"tenant": ["acme"]},
    ],
)
async def test_a_genuine_token_that_is_not_for_us_or_not_now_is_401(claims: Any) -> None:
    rig = Rig()

    assert isinstance(await rig.refused(SIGNING.token(WALL, **claims)), Unauthenticated)
    assert len(vars(rig.gate)["_attempts"].addresses) == 0


@pytest.mark.parametrize("missing", ["exp", "aud", "tenant"])
async def test_a_token_without_a_claim_that_is_needed_is_401(missing: str) -> None:
    assert (await Rig().refused(SIGNING.token(WALL, drop=missing))).status == 401


async def test_clocks_may_differ_by_the_leeway() -> None:
    rig = Rig()

    assert (await rig.caller(SIGNING.token(WALL, exp=WALL - 59))).tenant == "acme"
    assert (await rig.caller(SIGNING.token(WALL, nbf=WALL + 59))).tenant == "acme"
    assert (await rig.caller(SIGNING.token(WALL, aud=["x", AUDIENCE]))).tenant == "acme"


def segment(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(header: Mapping[str, Any]) -> str:
    """The payload of a good token under another head, with the signature of the good one."""
    _, payload, signature = SIGNING.token(WALL).split(".")
    return f"{segment(header)}.{payload}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        forged({"alg": "none", "kid": "key-ES256"}),
        forged({"alg": "none", "kid": "key-ES256"}).rpartition(".")[0] + ".",
        forged({"alg": "HS256", "kid": "key-ES256"}),
        forged({"alg": "RS256", "kid": "key-ES256"}),
        forged({"alg": "ES256", "kid": "key-EdDSA"}),
        forged({"alg": "ES256", "kid": "key-RS256"}),
        SIGNING.token(WALL, header={"crit": ["exp"]}),
        SIGNING.token(WALL, header={"typ": "logout+jwt"}),
        SIGNING.token(WALL, header={"kid": "unknown"}),
        Signing("ES256").token(WALL),
        SIGNING.token(WALL, iss=NAME + "/"),
        SIGNING.token(WALL, iss=[NAME]),
        SIGNING.token(WALL, padding="x" * 8192),
        SIGNING.token(WALL)[:-2],
    ],
)
async def test_a_token_that_is_not_genuine_is_a_failed_attempt(token: str) -> None:
    rig = Rig()
    error = await rig.refused(token)

    assert isinstance(error, Unauthenticated)
    assert len(vars(rig.gate)["_attempts"].addresses) == 1


async def test_a_public_key_is_no_shared_secret() -> None:
    """The classic: the RSA key set's own text as the key of an HMAC."""
    rig = Rig(replace(ISSUER, algorithms=frozenset({*KINDS, "HS256"})))
    entry = json.loads(SIGNING.document())["keys"][0]
    front = f"{segment({'alg': 'HS256', 'kid': entry['kid']})}.{SIGNING.token(WALL).split('.')[1]}"
    mac = hmac.digest(json.dumps(entry).encode(), front.encode(), "sha256")
    token = f"{front}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    assert (await rig.refused(token)).status == 401


async def test_two_tokens_that_begin_alike_are_two_callers() -> None:
    rig = Rig()
    one, two = SIGNING.token(WALL, tenant="acme"), SIGNING.token(WALL, tenant="beta")
    assert one[:60] == two[:60]

    assert [(await rig.caller(each)).tenant for each in (one, two, one)] == ["acme", "beta", "acme"]
    ids = {(await rig.caller(SIGNING.token(WALL, sub=sub))).key_id for sub in ("ann", "bob")}
    assert len(ids) == 2


async def test_a_token_is_forgotten_when_it_runs_out() -> None:
    rig = Rig()
    token = SIGNING.token(WALL, exp=WALL + 10)
    await rig.caller(token)
    rig.clock.advance(59.0)
    assert rig.at_once(token, WALL + 59).tenant == "acme"
    rig.clock.advance(11.0)

    error = await rig.refused(token, WALL + 70)

    assert "run out" in error.message


async def test_a_token_is_remembered_for_no_longer_than_it_is_good() -> None:
    rig = Rig()
    token = SIGNING.token(WALL, exp=WALL - 30)
    await rig.caller(token)
    rig.clock.advance(30.0)

    assert "run out" in (await rig.refused(token, WALL + 30)).message


async def test_an_algorithm_that_the_operator_did_not_name_is_refused_also_of_a_good_key() -> None:
    rig = Rig(replace(ISSUER, algorithms=frozenset({"EdDSA"})))

    assert (await rig.refused(SIGNING.token(WALL, kid="key-ES256"))).status == 401
    assert (await rig.caller(SIGNING.token(WALL, kid="key-EdDSA"))).tenant == "acme"


async def test_a_token_that_ran_out_is_401_however_often_it_comes() -> None:
    rig = Rig()
    told = [(await rig.refused(SIGNING.token(WALL, exp=WALL - 90))).status for _ in range(50)]

    assert set(told) == {401}


async def test_a_flood_of_made_up_key_ids_asks_the_issuer_once_in_ten_seconds() -> None:
    rig = Rig()
    good = SIGNING.token(WALL)
    await rig.caller(good)
    assert rig.place.asked == 1
    statuses = set()
    for number in range(2100):
        rig.clock.advance(COOLDOWN_S / 1000)
        token = SIGNING.token(WALL, kid="key-EdDSA", header={"kid": f"made up {number}"})
        statuses.add((await rig.refused(token)).status)
        assert (await rig.caller(good)).tenant == "acme"

    assert rig.place.asked == 1 + 2
    assert statuses == {401, 429}


async def test_many_who_come_at_once_ask_once_and_all_get_in() -> None:
    rig = Rig()
    rig.place.gate.clear()
    tokens = [SIGNING.token(WALL, jti=str(number)) for number in range(50)]
    waiting = [asyncio.ensure_future(rig.caller(token)) for token in tokens]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    rig.place.gate.set()
    callers = await asyncio.gather(*waiting[1:])

    assert {caller.tenant for caller in callers} == {"acme"}
    assert rig.place.asked == 1


async def test_an_issuer_that_never_answered_is_503_and_asked_again_after_the_cooldown() -> None:
    rig = Rig(place=Place(SIGNING, down=True))
    token = SIGNING.token(WALL)

    assert isinstance(await rig.refused(token), Unavailable)
    assert isinstance(await rig.refused(token), Unavailable)
    assert rig.place.asked == 1

    rig.place.down = False
    rig.clock.advance(COOLDOWN_S)

    assert (await rig.caller(token)).tenant == "acme"


async def test_old_keys_serve_while_the_issuer_is_down_and_nobody_waits_twice() -> None:
    rig = Rig()
    await rig.caller(SIGNING.token(WALL))
    rig.place.down = True
    for hours in range(1, 24):
        rig.clock.advance(3600.0)
        wall = WALL + 3600 * hours
        assert (await rig.caller(SIGNING.token(wall), wall)).tenant == "acme"
        assert rig.at_once(SIGNING.token(wall, jti="2"), wall).tenant == "acme"
        await asyncio.sleep(0.001)
    rig.clock.advance(3600.0)

    assert isinstance(await rig.refused(SIGNING.token(WALL + 86_400), WALL + 86_400), Unavailable)


async def test_stale_keys_are_asked_for_behind_the_request() -> None:
    rig = Rig()
    await rig.caller(SIGNING.token(WALL))
    rig.clock.advance(700.0)

    for jti in ("stale", "fresh"):
        assert rig.at_once(SIGNING.token(WALL + 700, jti=jti), WALL + 700).tenant == "acme"
        await asyncio.sleep(0.01)
    assert rig.place.asked == 2


async def test_what_a_key_has_signed_is_not_remembered_once_it_was_taken_away() -> None:
    rig = Rig(place=Place(Signing()))
    old = rig.place.signing
    token = old.token(WALL)
    await rig.caller(token)
    rig.place.signing = Signing()
    rig.clock.advance(30.0)
    assert rig.at_once(token).tenant == "acme"

    fresh = rig.place.signing.token(WALL, kid="key-EdDSA", header={"kid": "new"})
    rig.place.signing.keys["new"] = rig.place.signing.keys["key-EdDSA"]
    assert (await rig.caller(fresh)).tenant == "acme"

    assert (await rig.refused(token)).status == 401


async def test_a_key_set_in_a_file_asks_nobody() -> None:
    rig = Rig(replace(ISSUER, keys=KeyPlace(document=SIGNING.document())))

    assert rig.at_once(SIGNING.token(WALL)).tenant == "acme"
    assert rig.place.asked == 0


STAFFED = replace(
    ISSUER, role_claim="realm.groups", roles={"gw-ops": "operator", "gw-admins": "admin"}
)


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["x", "gw-ops"], "operator"),
        (["gw-ops", "gw-admins"], "admin"),
        ("gw-admins", "admin"),
    ],
)
async def test_a_role_is_what_the_operator_gave_to_a_value_of_the_claim(
    groups: Any, role: str
) -> None:
    staff = Rig(STAFFED, roles=frozenset({"operator", "admin"}))
    token = SIGNING.token(WALL, realm={"groups": groups})

    caller = await staff.caller(token)

    assert (caller.tenant, caller.role) == ("", role)
    assert isinstance(await Rig(STAFFED).refused(token), RoleForbidden)


@pytest.mark.parametrize("groups", ["admin", ["operator"], [["gw-admins"]], {"gw-admins": 1}, None])
async def test_no_other_value_makes_an_admin(groups: Any) -> None:
    staff = Rig(STAFFED, roles=frozenset({"operator", "admin"}))

    assert isinstance(
        await staff.refused(SIGNING.token(WALL, realm={"groups": groups})), RoleForbidden
    )


async def test_a_claim_is_found_by_its_name_else_by_its_path_else_not_at_all() -> None:
    rig = Rig(replace(ISSUER, tenant_claim="id.tenant"))

    assert (await rig.caller(SIGNING.token(WALL, **{"id.tenant": "beta"}))).tenant == "beta"
    assert (await rig.caller(SIGNING.token(WALL, id={"tenant": "beta"}))).tenant == "beta"
    assert (await rig.refused(SIGNING.token(WALL, id="beta"))).status == 401


async def test_all_tokens_of_an_issuer_may_be_one_tenants() -> None:
    rig = Rig(replace(ISSUER, tenant="beta"))

    assert (await rig.caller(SIGNING.token(WALL, tenant="acme"))).tenant == "beta"


async def test_bad_tokens_are_slowed_like_bad_keys() -> None:
    rig = Rig()
    await rig.caller(SIGNING.token(WALL))
    others = Signing("ES256")
    errors = [await rig.refused(others.token(WALL, jti=str(n))) for n in range(30)]

    assert isinstance(errors[-1], TooManyAttempts)
    assert (await rig.caller(SIGNING.token(WALL, jti="good"))).tenant == "acme"
