"""Plugins that do what they must not: one request suffers, and the bill of all others is right."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from math import nan
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from gateways import Running, start_words
from made_plugins import Words, plugin

from modgate.ledger.reader import rows
from modgate.plugin import (
    SSE,
    Body,
    Call,
    Dialect,
    Endpoint,
    Event,
    GatewayError,
    Head,
    JsonObject,
    LimitReached,
    Outcome,
    Outgoing,
    Overloaded,
    Plan,
    Refused,
    Relay,
    Request,
    Surface,
    Units,
    Usage,
    openai_error,
)
from modgate.testing import FakeBackend, Scripted

STREAM = [b'{"word": "hel"}', b'{"word": "lo"}']
CALLS = 3
Rudeness = Callable[[], object]


def quits() -> NoReturn:
    raise SystemExit("a library that gives up")


class Bare(BaseException):
    """No Exception: `except Exception` lets it pass."""


def raising(kind: type[BaseException]) -> Rudeness:
    def raises() -> NoReturn:
        raise kind

    raises.__name__ = kind.__name__
    return raises


interrupts, cancels = raising(KeyboardInterrupt), raising(asyncio.CancelledError)
bares, leaves = raising(Bare), raising(GeneratorExit)


def fails() -> NoReturn:
    raise RuntimeError("broken")


def numbered() -> NoReturn:
    raise Refused(None, 5, "a code that is no word")  # type: ignore[arg-type]  # it is the fault


def worded() -> NoReturn:
    raise type("Late", (Overloaded,), {"retry_after_s": "5"})("as an engine's header had it")


def computes() -> None:
    time.sleep(0.06)


def limits() -> NoReturn:
    raise LimitReached("no more", limit="words", unit="words", retry_after_s=nan)


UNSAID = (
    Usage(Units(input_tokens=1), by="nobody"),  # type: ignore[arg-type]  # it is the fault
    Usage(Units(input_tokens=1), other=7),  # type: ignore[arg-type]  # it is the fault
    Usage(Units(input_tokens=1, gold=3)),
    Usage(Units(input_tokens=1, requests=500)),
)


class Rudely:
    """What is done, and where; a test sets both."""

    where = ""
    what: Rudeness = fails

    @classmethod
    def at(cls, where: str) -> object:
        return cls.what() if where == cls.where else None


class Told(Relay):
    """Repeats what comes."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.counted = 0

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        self.counted += 1
        yield self.sse(event.json()) if self.head.kind == "sse" else self.json(event.json())
        Rudely.at("feed")

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        Rudely.at("close")
        return ()

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        said = Rudely.at("usage")
        return said if isinstance(said, Usage) else Usage(Units(input_tokens=self.counted))


class RudeDialect(Dialect):
    """The home wire, rude of the second call only."""

    modality = "words"

    def encode(self) -> Outgoing:
        self._second("encode")
        return super().encode()

    def decode(self, event: Event) -> Iterable[Event]:
        self._second("decode")
        return super().decode(event)

    def _second(self, where: str) -> None:
        if self.call.body.members()["number"] == b"1":
            Rudely.at(where)


class Mute(Surface):
    """Finds no words for an error."""

    name = "mute"
    done = b"data: [DONE]\n\n"

    def status(self, error: GatewayError) -> int:
        return 200 if Rudely.at("status") else super().status(error)

    def error_body(self, error: GatewayError, request_id: str) -> JsonObject:
        Rudely.at("error_body")
        return {"error": openai_error(error)}


class Rude(Words):
    """Words by three calls side by side, as a whole or a stream."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape, surfaces=("mute",))

    def shape(self, request: Request) -> Plan:
        Rudely.at("shape")
        fields = request.fields()
        stream, headers = fields.flag("stream", False), fields.get("headers") or {}
        head = SSE if stream else Head(headers=headers)
        path, reply = ("/stream", "sse") if stream else ("/words", "whole")
        calls = [
            Call(path=path, body=Body.of(number=n), size=Units(input_tokens=1), reply=reply)
            for n in range(CALLS)
        ]
        return Plan(calls=calls, relay=Told(head), width=fields.integer("width", CALLS))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    made = plugin(
        modgate_modalities=[Rude], modgate_dialects=[RudeDialect], modgate_surfaces=[Mute]
    )
    async with FakeBackend() as engine:
        engine.answer("/words", Scripted(reply=b'{"word": "hello"}'))
        engine.answer("/stream", Scripted(reply=STREAM))
        async with (
            await start_words(folder, made, engine.url) as gateway,
            httpx.AsyncClient(
                base_url=gateway.url, headers=gateway.headers, verify=False
            ) as client,
        ):
            yield gateway, client


async def asked(client: httpx.AsyncClient, **more: object) -> httpx.Response:
    return await client.post("/v1/words", json={"model": "w", **more})


@pytest.fixture
def rudely(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Rudeness], None]:
    def set_to(where: str, what: Rudeness) -> None:
        monkeypatch.setattr(Rudely, "where", where)
        monkeypatch.setattr(Rudely, "what", staticmethod(what))

    return set_to


@pytest.mark.parametrize("width", [1, CALLS])
@pytest.mark.parametrize("what", [quits, interrupts, cancels, bares, leaves, numbered, worded])
@pytest.mark.parametrize("where", ["shape", "encode", "decode", "feed", "close", "usage"])
async def test_whatever_a_plugin_raises_ends_one_request(
    tmp_path: Path,
    rudely: Callable[[str, Rudeness], None],
    caplog: pytest.LogCaptureFixture,
    where: str,
    what: Rudeness,
    width: int,
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely(where, what)
        bad = await asked(client, width=width)
        rudely("", fails)
        good = await asked(client)
    first, last = rows(gateway.ledger)
    faults = [record for record in caplog.records if record.getMessage() == "fault"]

    assert [vars(fault)["plugin"] for fault in faults] == ["words (words 0)"]
    assert bad.status_code == 500
    assert bad.json()["error"]["code"] == "internal_error"
    assert (first.ending, first.exact) == ("fault", False)
    assert good.status_code == 200
    assert last.units["words.input_tokens"] == CALLS
    assert last.exact


@pytest.mark.parametrize("what", [cancels, bares])
async def test_a_stream_in_which_a_plugin_cancels_is_told_that_it_broke(
    tmp_path: Path, rudely: Callable[[str, Rudeness], None], what: Rudeness
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely("feed", what)
        cut = await asked(client, stream=True, width=1)
    [row] = rows(gateway.ledger)

    assert "internal_error" in cut.text
    assert (row.ending, row.exact) == ("fault", False)


async def test_a_limit_that_is_reached_for_no_time_at_all_is_a_limit(
    tmp_path: Path, rudely: Callable[[str, Rudeness], None]
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely("shape", limits)
        reply = await asked(client)
    [row] = rows(gateway.ledger)

    assert (reply.status_code, row.ending) == (429, "refused")
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("1", "1000")


@pytest.mark.parametrize("said", UNSAID)
async def test_a_usage_that_no_row_can_say_is_a_fault(
    tmp_path: Path, rudely: Callable[[str, Rudeness], None], said: Usage
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely("usage", lambda: said)
        bad = await asked(client)
    [row] = rows(gateway.ledger)

    assert bad.status_code == 500
    assert (row.ending, row.by, row.exact) == ("fault", "estimate", False)
    assert "words.gold" not in row.units


async def test_a_stream_that_lacks_a_call_does_not_look_whole(
    tmp_path: Path, rudely: Callable[[str, Rudeness], None]
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely("decode", cancels)
        cut = await asked(client, stream=True)
    [row] = rows(gateway.ledger)

    assert "internal_error" in cut.text
    assert (row.ending, row.exact) == ("fault", False)
    assert row.units["words.input_tokens"] < CALLS * len(STREAM)


async def test_a_relay_that_breaks_over_an_error_leaves_its_words_to_the_surface(
    tmp_path: Path,
    rudely: Callable[[str, Rudeness], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely("decode", fails)
        monkeypatch.setattr(Told, "fail", lambda *_: quits())
        cut = await asked(client, stream=True)
    [row] = rows(gateway.ledger)

    assert cut.text.endswith("data: [DONE]\n\n")
    assert "internal_error" in cut.text
    assert row.error == "internal_error"


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "3"}, {"transfer-encoding": "chunked"}, {"x-a": "b\r\nx-more: 1"}],
)
async def test_a_relays_headers_cannot_say_where_a_reply_ends(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with running(tmp_path) as (_, client):
        reply = await asked(client, headers=headers)

    assert reply.status_code == 500
    assert "x-more" not in reply.headers
    assert reply.json()["error"]["code"] == "internal_error"


@pytest.mark.parametrize(
    ("where", "what"), [("status", lambda: True), ("error_body", fails), ("error_body", quits)]
)
async def test_an_error_that_a_surface_breaks_over_is_told_in_plain_words(
    tmp_path: Path, rudely: Callable[[str, Rudeness], None], where: str, what: Rudeness
) -> None:
    async with running(tmp_path) as (gateway, client):
        rudely(where, what)
        reply = await asked(client, stream="no flag")
    [row] = rows(gateway.ledger)

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "stream"
    assert row.ending == "refused"


@pytest.mark.parametrize("width", [0, -1])
async def test_a_plan_of_no_width_is_a_fault_and_is_not_waited_for(
    tmp_path: Path, width: int
) -> None:
    async with running(tmp_path) as (_, client):
        reply = await asked(client, width=width)

    assert reply.status_code == 500


async def test_the_log_says_whose_fault_it_is(
    tmp_path: Path, rudely: Callable[[str, Rudeness], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as (_, client):
        rudely("close", fails)
        await asked(client)
    [fault] = [record for record in caplog.records if record.getMessage() == "fault"]

    assert vars(fault)["plugin"] == "words (words 0)"
    assert fault.levelno == logging.ERROR


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["shape", "feed", "close"])
async def test_a_step_that_keeps_the_loop_is_told_with_its_plugin_and_not_each_time(
    tmp_path: Path,
    rudely: Callable[[str, Rudeness], None],
    caplog: pytest.LogCaptureFixture,
    where: str,
    stream: bool,
) -> None:
    async with running(tmp_path) as (_, client):
        rudely(where, computes)
        slow = [await asked(client, stream=stream, width=1) for _ in range(2)]
    told = [vars(each) for each in caplog.records if each.getMessage() == "slow step"]
    [step] = [each for each in told if each["step"] == where]

    assert {reply.status_code for reply in slow} == {200}
    assert step["plugin"] == "words (words 0)"
    assert step["request_id"] == slow[0].headers["x-request-id"]
    assert step["ms"] >= 60


async def test_a_reload_that_breaks_is_told_and_what_was_serves_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as (gateway, client):
        monkeypatch.setattr(gateway.app, "reload", unexpected)
        gateway.app.reload_soon()
        await asyncio.sleep(0.05)
        reply = await asked(client)

    assert reply.status_code == 200
    assert "reload failed" in [record.getMessage() for record in caplog.records]


async def unexpected(actor: str) -> NoReturn:
    raise KeyError(actor)
