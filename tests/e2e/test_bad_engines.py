"""Engines that answer what is no reply, or that are not what the configuration says.

The attempt is recorded as what it was, the call is tried elsewhere as long as nothing was relayed,
and the client is told in its own words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateways import Running, receipts_of, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Piece, Refusal, Script, event
from oracle.requests import ClientRequest
from rigs.each import BESIDES_CHAT

from modgate.ledger.reader import rows

SSE = "text/event-stream"
NO_SENSE = event({"foo": 1})
DONE = b"data: [DONE]\n\n"
CHUNK = {
    "id": "c",
    "object": "chat.completion.chunk",
    "model": "e",
    "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}],
}
LAST = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "model": "e",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
}
BY_ROUTE: dict[str, ClientRequest] = {
    "llm": ask.chat(1, model="chat"),
    **{name: request for name, request in BESIDES_CHAT.items() if name != "tts"},
}
STREAM = ask.chat(7, model="chat", stream=True)


def says(data: bytes, *, sse: bool = False) -> Script:
    """A script that answers 200 with these bytes, in one write."""
    return Script(pieces=(Piece(data=data),), content_type=SSE if sse else None)


class Two:
    """A gateway before two engines that say the same, and its receipts."""

    def __init__(self, running: Running, engines: list[ScriptedEngine]) -> None:
        self.running = running
        self.engines = engines
        self.receipts = receipts_of(running)

    async def ask(self, request: ClientRequest, *scripts: Script) -> ClientRecord:
        """Both engines' first call is answered by the first script, the next by the next."""
        left = list(scripts)
        for engine in self.engines:
            engine.script_for = lambda record: left.pop(0) if len(left) > 1 else left[0]
        self.receipts.clear()
        return await send(
            self.running.url, request, key=self.running.key, on_event=self._has, within_s=10
        )

    def _has(self, request_id: str, events: int) -> None:
        """The client has an event: engines that are gated go on."""
        for engine in self.engines:
            engine.release(request_id)

    @property
    def attempts(self) -> list[tuple[str, str]]:
        """State and error of each attempt of the last request."""
        [receipt] = self.receipts
        return [(each.state, each.error) for each in receipt.attempts]


@pytest.fixture
async def two(tmp_path: Path, engine: ScriptedEngine) -> AsyncIterator[Two]:
    async with (
        ScriptedEngine() as other,
        await start(tmp_path, [{"url": engine.url}, {"url": other.url}]) as running,
    ):
        yield Two(running, [engine, other])


BAD = ("failed", "upstream_invalid_response")


async def test_a_stream_that_ends_in_the_same_read_as_its_last_event_ended_well(two: Two) -> None:
    client = await two.ask(STREAM, says(event(CHUNK) + event(LAST) + DONE, sse=True))

    assert (client.ended, client.status) == ("ok", 200)
    assert two.attempts == [("ok", "")]


@pytest.mark.parametrize(
    "pieces",
    [(event(CHUNK) + event(LAST) + DONE,), (event(CHUNK), event(LAST) + DONE)],
)
async def test_a_stream_that_said_its_end_ended_well_though_its_body_goes_on(
    two: Two, pieces: tuple[bytes, ...]
) -> None:
    said = tuple(Piece(data=data) for data in pieces)
    client = await two.ask(STREAM, Script(pieces=said, content_type=SSE, gated=True))

    assert b"error" not in client.body
    assert client.body.endswith(b'"finish_reason":"stop"}]}\n\n' + DONE)
    assert two.attempts == [("ok", "")]


@pytest.mark.parametrize(
    ("route", "said"),
    [
        *((route, b"<html>not what you asked for</html>") for route in BY_ROUTE),
        *((route, b'{"foo": 1}') for route in BY_ROUTE if route != "asr"),  # silence is one
    ],
)
async def test_a_whole_reply_that_is_none_is_a_failed_attempt(
    two: Two, route: str, said: bytes
) -> None:
    client = await two.ask(BY_ROUTE[route], says(said))
    failed, tries = client.status, two.attempts
    client = await two.ask(BY_ROUTE[route], says(said), Script())

    assert failed == 502
    assert tries == [BAD, BAD]
    assert (client.ended, client.status) == ("ok", 200)
    assert two.attempts == [BAD, ("ok", "")]


@pytest.mark.parametrize("said", [NO_SENSE + DONE, DONE, b"data: hello\n\n" + DONE])
async def test_a_stream_that_begins_with_no_sense_is_a_failed_attempt(
    two: Two, said: bytes
) -> None:
    client = await two.ask(STREAM, says(said, sse=True))
    failed, tries = client.status, two.attempts
    client = await two.ask(STREAM, says(said, sse=True), Script())

    assert failed == 502
    assert tries == [BAD, BAD]
    assert (client.ended, client.status) == ("ok", 200)
    assert two.attempts == [BAD, ("ok", "")]


async def test_no_sense_in_the_middle_of_a_stream_is_told_and_recorded(two: Two) -> None:
    client = await two.ask(STREAM, says(event(CHUNK) + b"data: hello\n\n" + DONE, sse=True))

    assert client.status == 200
    assert b'"hi"' in client.body
    assert b"upstream_invalid_response" in client.body
    assert two.attempts == [BAD]


GIVEN_UP = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "abort"}]}
COUNTED = {**CHUNK, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
FAILED = ("failed", "upstream_error")


@pytest.mark.parametrize(
    "said",
    [
        event(GIVEN_UP) + event(COUNTED) + DONE,  # vLLM that drains
        b"event: error\n: the worker died\n\n" + DONE,  # Dynamo
    ],
)
async def test_a_reply_that_its_engine_gave_up_does_not_end_as_if_it_were_whole(
    two: Two, said: bytes
) -> None:
    pieces = Piece(data=event(CHUNK)), Piece(data=said)
    client = await two.ask(STREAM, Script(pieces=pieces, content_type=SSE, gated=True))
    [row] = rows(two.running.ledger)
    lines = client.body.split(b"\n\n")

    assert json.loads(lines[-3].removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    assert lines[-2:] == [DONE.strip(), b""]
    assert two.attempts == [FAILED]
    assert (row.exact, row.units["llm.output_tokens"]) == (False, 1)


async def test_a_whole_reply_that_its_engine_gave_up_is_asked_for_elsewhere(two: Two) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "h"}}
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    said = {**WHOLE, "choices": [{**choice, "finish_reason": "abort"}], "usage": usage}
    client = await two.ask(BY_ROUTE["llm"], says(json.dumps(said).encode()), Script())

    assert json.loads(client.body)["choices"][0]["finish_reason"] == "stop"
    assert two.attempts == [FAILED, ("ok", "")]


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("route", [*BY_ROUTE, "tts"])
async def test_an_engine_that_does_not_know_us_is_no_fault_of_the_clients(
    two: Two, route: str, status: int
) -> None:
    request = BY_ROUTE.get(route) or ask.speech(8, model="voice")
    client = await two.ask(request, Script(refusal=Refusal(status=status)))

    assert client.status == 502
    assert Counter(two.attempts) == {("failed", "upstream_error"): 2}


@pytest.mark.parametrize("engines_name", ["e", "engine-chat", "chat", None, 'a "quoted" one'])
async def test_a_reply_says_the_model_that_the_client_asked_for(
    two: Two, engines_name: str | None
) -> None:
    chunk, whole = {**CHUNK, "model": engines_name}, {**WHOLE, "model": engines_name}
    said = b"".join(map(event, (chunk, chunk, {**LAST, "model": engines_name})))
    streamed = await two.ask(STREAM, says(said + DONE, sse=True))
    at_once = await two.ask(BY_ROUTE["llm"], says(json.dumps(whole).encode()))

    lines = [line for line in streamed.body.split(b"\n") if line.startswith(b"data: {")]
    assert [json.loads(line[6:])["model"] for line in lines] == ["chat"] * 3
    assert json.loads(at_once.body)["model"] == "chat"


async def test_an_engine_of_which_no_reply_can_be_relayed_is_left_alone(two: Two) -> None:
    wrong, right = two.engines
    uneven = [
        {"object": "embedding", "index": at, "embedding": [0.5] * (at + 1)} for at in range(2)
    ]
    said = json.dumps({"object": "list", "data": uneven, "usage": {"prompt_tokens": 2}}).encode()
    wrong.script_for = lambda record: says(said)
    right.script_for = lambda record: Script(first_byte_after_ms=20)
    request = ask.embeddings(5, model="vectors", inputs=2)
    got = [
        await send(two.running.url, request, key=two.running.key, within_s=10) for _ in range(30)
    ]

    assert {record.status for record in got[-5:]} == {200}
    assert sum(record.status == 502 for record in got) <= 10  # none where the other came first


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("code", "attempt"),
    [
        (400, ("refused", "invalid_value")),
        (500, ("failed", "upstream_error")),
        (503, ("failed", "overloaded")),
    ],
)
async def test_an_error_inside_a_stream_is_its_engines_however_the_network_cut_it(
    two: Two, code: int, attempt: tuple[str, str], together: bool
) -> None:
    said = (event(CHUNK), event(CHUNK), event({"error": {"message": "no", "code": code}}))
    pieces = (said[0], said[1] + said[2]) if together else said
    script = Script(pieces=tuple(Piece(data=data) for data in pieces), content_type=SSE, gated=True)
    client = await two.ask(STREAM, script)

    assert client.body.count(b'"hi"') == 2
    assert two.attempts == [attempt]
