from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest
from pydantic import BaseModel

from modgate.api.auth import Policy
from modgate.api.authenticator import (
    Asking,
    Authenticator,
    Credential,
    Document,
    Identity,
    Lookup,
    Reject,
)
from modgate.auth import flights as waiting
from modgate.auth.flights import Flights
from modgate.auth.plugin_checker import LOOKUPS_AT_MOST, PluginChecker, origin_of
from modgate.auth.verdict import Bad, Good, Later, Moment
from modgate.errors import Overloaded, PluginFault, Unavailable

AT = Moment(now=0.0, wall=0.0, client="192.0.2.1")
URL = "https://id.example/x"


class Section(BaseModel, frozen=True, extra="forbid"):
    """No keys."""


class Made(Authenticator[Section]):
    """An authenticator that answers as a test says."""

    name = "made"
    config_type = Section
    answer: Callable[[Credential], Any]

    def origins(self) -> list[str]:
        return ["https://id.example"]

    def authenticate(self, credential: Credential) -> Any:
        return type(self).answer(credential)


async def good(lookup: Lookup) -> Document:
    return Document(status=200, body=b"{}")


def other(answer: Callable[[Credential], Any], ask: Any = good, **more: Any) -> PluginChecker:
    kind = type("Kind", (Made,), {"answer": staticmethod(answer)})
    settings = {"tenants": None, "policy_of": {"acme": Policy()}.get, "flights": Flights()}
    return PluginChecker("made", kind(Section()), ask=ask, **{**settings, **more})


async def said(other: PluginChecker, text: str = "x") -> Good | Bad | None:
    verdict = other.check(text, AT)
    return await verdict.answer() if isinstance(verdict, Later) else verdict


async def test_an_identity_is_its_tenant_and_believed_for_a_minute_at_most() -> None:
    verdict = await said(other(lambda _: Identity(tenant="acme", key_id="k", for_s=1e9)))

    assert isinstance(verdict, Good)
    assert (verdict.caller.tenant, verdict.caller.key_id) == ("acme", "made:k")
    assert (verdict.caller.role, verdict.for_s) == ("tenant", 60.0)


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a\x7f", "\ud800"])
def test_what_a_sink_cannot_hold_or_a_reader_cannot_see_is_no_key_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"control|surrogates"):
        Identity(tenant="acme", key_id=text)
    with pytest.raises(ValueError, match=r"control|surrogates"):
        Identity(tenant=text)


async def test_a_tenant_that_is_none_is_no_failed_attempt_and_a_reject_is_one() -> None:
    unknown = await said(other(lambda _: Identity(tenant="nobody")))
    rejected = await said(other(lambda _: Reject()))

    assert isinstance(unknown, Bad)
    assert isinstance(rejected, Bad)
    assert (unknown.counted, rejected.counted) == (False, True)
    assert await said(other(lambda _: None)) is None


def endless(_: Credential) -> Asking:
    while True:
        yield Lookup(url=URL)


def astray(_: Credential) -> Asking:
    yield Lookup(url="https://id.example.evil/x")
    return None


def odd(_: Credential) -> Generator[Any, Any, Any]:
    yield "no Lookup"


def raising(credential: Credential) -> Asking:
    yield Lookup(url=URL)
    raise TimeoutError(f"about {credential.secret.reveal()}")


@pytest.mark.parametrize("answer", [endless, astray, odd, raising, lambda _: "nobody", lambda _: 1])
async def test_what_breaks_the_rules_is_the_plugins_fault_and_tells_no_credential(
    answer: Callable[[Credential], Any],
) -> None:
    with pytest.raises(PluginFault) as caught:
        await said(other(answer), "a canary")

    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_it_asks_four_times_at_most() -> None:
    asked: list[Lookup] = []

    async def ask(lookup: Lookup) -> Document:
        asked.append(lookup)
        return Document(status=200)

    with pytest.raises(PluginFault):
        await said(other(endless, ask))

    assert len(asked) == LOOKUPS_AT_MOST


async def test_a_server_that_is_late_or_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgate.auth.plugin_checker.TOTAL_S", 0.05)

    async def late(lookup: Lookup) -> Document:
        await asyncio.sleep(10)
        return Document(status=200)

    async def away(lookup: Lookup) -> Document:
        raise ConnectionError

    def one(_: Credential) -> Asking:
        yield Lookup(url=URL)
        return Identity(tenant="acme")

    for ask in (late, away):
        with pytest.raises(Unavailable):
            await said(other(one, ask))


async def test_those_who_wait_are_bounded_and_leave_the_question_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "WAITING_AT_MOST", 3)
    gate, asked = asyncio.Event(), 0
    found: Flights[int] = Flights()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await gate.wait()
        return 7

    first = [asyncio.ensure_future(found.once("a", ask)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await found.once("b", ask)
    first[0].cancel()
    gate.set()

    assert await asyncio.gather(*first[1:]) == [7, 7]
    assert asked == 1
    assert not found.under_way("a")
    assert [await found.once("c", ask) for _ in range(5)] == [7] * 5


async def test_closing_ends_what_is_under_way() -> None:
    found: Flights[int] = Flights()

    async def never() -> int:
        await asyncio.sleep(3600)
        return 1

    task = found.start("a", never)
    await asyncio.sleep(0)
    await found.close()

    assert task.cancelled()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://id.example/x?y", "https://id.example"),
        ("https://ID.example:8443", "https://id.example:8443"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("https://user@id.example/", ""),
        ("https://id.example\\@evil.example/", ""),
        ("ftp://id.example", ""),
        ("//id.example", ""),
        ("https://id.example:port", ""),
        ("", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin
