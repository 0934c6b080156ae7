"""Streams that begin in time and then drip: on sockets, before two engines, of which one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.faults import Fault, Piece, Script, event
from oracle.requests import ClientRequest
from rigs.explaining import GOLD, World, worlds

from modgate.fleet import promise, promise_record, sieve
from modgate.fleet.health import PROBATION
from modgate.ledger.reader import rows

TARGET_MS = 100  # a busy machine stops for longer than an engine does between two words
FAST = Script(tokens=5, between_ms=1, piece_ms=640)
DRIPS = replace(FAST, between_ms=3 * TARGET_MS)
STALLS = replace(FAST, fault=Fault(kind="silence", after=3))
LATER = replace(FAST, first_byte_after_ms=40)  # so the other one is preferred, but for its gaps
HEARD = tuple(
    Piece(data=event({"type": f"transcript.text.{kind}", part: "one word "}))
    for kind, part in [*[("delta", "delta")] * 4, ("done", "text")]
)
WORD = {"index": 0, "delta": {"content": "x" * (1 << 19)}, "finish_reason": None}
CHUNK = Piece(data=event({"object": "chat.completion.chunk", "choices": [WORD]}))
LARGE = (*[CHUNK] * 20, Piece(data=b"data: [DONE]\n\n"))  # more than sockets hold on the way
MODELS = {"llm": "chat", "vlm": "eyes", "asr": "ears", "tts": "voice"}
STREAMS = [
    ask.chat(1, model="chat", stream=True),
    ask.vision(1, model="eyes", stream=True),
    ask.transcription(1, model="ears", stream=True),
    ask.speech(1, model="voice"),
]
CHAT, SPEECH = STREAMS[0], STREAMS[-1]
AT_ONCE = 4
WITHIN_S = 40.0
MOST = 0.7  # of the streams

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is disqualified is tried again after tenths of a second."""
    monkeypatch.setattr(promise_record, "DWELL_S", 0.5)
    monkeypatch.setattr(sieve, "EXPLORE_S", 0.05)


class Two:
    """A gateway that promises gaps of 100 ms before two engines.

    `at`: the one that got the first stream; it answers as `script` says, the other one as `other`.
    """

    def __init__(self, request: ClientRequest) -> None:
        self.request = request
        self.at = 0
        self.script, self.other = FAST, LATER
        self.world: World

    def said_by(self, engine: int) -> Script:
        """How an engine answers; the scripted one knows no transcript that comes bit by bit."""
        script = self.script if engine == self.at else self.other
        if self.request.modality != "asr":
            return script
        return replace(script, pieces=HEARD, content_type="text/event-stream")

    async def asked(self, times: int = AT_ONCE) -> list[ClientRecord]:
        """So many streams at once."""
        sending = (self.world.sent(self.request) for _ in range(times))
        clients = await asyncio.gather(*sending)
        assert {client.status for client in clients} == {200}
        return clients

    async def shown(self) -> Any:
        """What operators are shown of that engine."""
        url = f"{self.world.running.admin}/admin/v1/backends"
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            backends = {row["name"]: row for row in (await reply.json())["backends"]}
        return backends[f"b{self.at}"]["models"][MODELS[self.request.modality]]

    async def until(self, *, disqualified: bool) -> list[ClientRecord]:
        """Ask until that engine is disqualified, or is not; the replies."""
        end, clients = time.monotonic() + WITHIN_S, []
        while (await self.shown())["disqualified_for"] != ["gold"] * disqualified:
            assert time.monotonic() < end, (await self.shown())["promises"]
            clients += await self.asked()
        return clients

    async def most(self, times: int) -> float:
        """The same once it gets most of them again: a busy machine breaks a promise, too."""
        end = time.monotonic() + WITHIN_S
        while (share := await self.share(times)) <= MOST and time.monotonic() < end:
            await self.asked()
        return share

    async def share(self, times: int) -> float:
        """Of as many streams, that it gets."""
        before = [len(engine.records) for engine in self.world.engines]
        for _ in range(times // AT_ONCE):
            await self.asked()
        after = [len(engine.records) for engine in self.world.engines]
        return (after[self.at] - before[self.at]) / (sum(after) - sum(before))


@asynccontextmanager
async def two(folder: Path, request: ClientRequest) -> AsyncIterator[Two]:
    found = Two(request)
    phases = 'first_byte = { base = "2s" }\n'
    phases += f'between = {{ base = "{TARGET_MS}ms", objective = 0.99 }}'
    async with worlds(folder) as make:
        found.world = await make(
            lambda _: found.said_by(0),
            lambda _: found.said_by(1),
            tenants=GOLD,
            more=f"[slo.gold.{request.modality}]\n{phases}\n",
            plugins=[request.modality],
            facts={"ears": "streams = true"},
        )
        await found.asked(1)
        found.at = int(not found.world.engines[0].records)
        yield found


async def once_known(world: World, client: ClientRecord) -> Any:
    """Its explanation, as soon as the gateway knows that its client left."""
    end = time.monotonic() + WITHIN_S
    while (found := await world.page(f"/{client.request_id}"))[0] != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    return found[1]


@pytest.mark.parametrize("request_", STREAMS, ids=lambda each: each.modality)
async def test_a_class_that_promises_gaps_leaves_an_engine_that_drips_until_it_is_mended(
    tmp_path: Path, request_: ClientRequest
) -> None:
    async with two(tmp_path, request_) as made:
        made.script = DRIPS
        clients = await made.until(disqualified=True)
        shown = await made.shown()
        left = await made.share(16)
        made.script = FAST
        await made.until(disqualified=False)
        back = await made.most(20)
        told = [await made.world.explained(client) for client in clients]
        billed = {row.id: row.attempts[0] for row in rows(made.world.running.ledger)}

    name = f"b{made.at}"
    dripped = [each for each in told if each["attempts"][0]["backend"] == name]
    assert shown["promises"]["gold"]["between"]["disqualified"]
    assert not shown["promises"]["gold"]["first_byte"]["disqualified"]
    assert left < 0.4  # those that find out
    assert back > MOST
    assert {each["attempts"][0]["broke"] for each in dripped} == {"between"}
    assert {billed[each["id"]]["broke"] for each in dripped} == {"between"}


async def test_a_stream_that_stalls_until_its_client_leaves_broke_its_promise(
    tmp_path: Path,
) -> None:
    async with two(tmp_path, CHAT) as made:
        made.script = made.other = STALLS
        running = made.world.running
        leave = Leave(at="body", events=3, after_ms=10 * TARGET_MS)
        client = await send(running.url, CHAT, key=running.key, leave=leave)
        told = await once_known(made.world, client)

    attempt = told["attempts"][0]
    assert (attempt["state"], attempt["broke"]) == ("cancelled", "between")
    assert attempt["slo"]["kept"]
    assert not attempt["slo"]["gaps"]["kept"]
    assert attempt["slo"]["gaps"]["target_ms"] == TARGET_MS


async def test_what_comes_late_because_its_client_does_not_read_breaks_nothing(
    tmp_path: Path,
) -> None:
    async with two(tmp_path, CHAT) as made:
        made.script = made.other = Script(pieces=LARGE)
        running = made.world.running
        reader, writer = await asyncio.open_connection(*running.app.public_address)
        head = [f"POST {CHAT.path} HTTP/1.1", "Host: g", f"Authorization: Bearer {running.key}"]
        head += ["Content-Type: application/json", f"Content-Length: {len(CHAT.body)}", "", ""]
        writer.write("\r\n".join(head).encode() + CHAT.body)
        began = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.5 * len(LARGE) * TARGET_MS / 1000)
        async with asyncio.timeout(WITHIN_S):
            while b"[DONE]" not in await reader.read(1 << 20):
                pass
        writer.close()
        names = dict(line.split(": ", 1) for line in began.decode().lower().split("\r\n")[1:-2])
        status, told = await made.world.page(f"/{names['x-request-id']}")

    attempt = told["attempts"][0]
    assert (status, attempt["state"], attempt["broke"]) == (200, "ok", None)
    assert attempt["slo"]["gaps"]["kept"]
    assert attempt["ended_ms"] - attempt["first_event_ms"] > len(LARGE) * TARGET_MS


async def test_an_engine_whose_streams_all_stall_is_left_before_any_of_them_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promise, "STALLS_S", 0.5)
    async with two(tmp_path, SPEECH) as made, asyncio.TaskGroup() as group:
        for _ in range(PROBATION // AT_ONCE + 1):
            await made.asked()  # to a new engine few calls go at once
        made.script, sent = STALLS, []
        end = time.monotonic() + WITHIN_S
        while (shown := await made.shown())["disqualified_for"] != ["gold"]:
            assert time.monotonic() < end, shown["promises"]
            sent.append(group.create_task(made.world.sent(SPEECH)))
            await asyncio.sleep(0.05)
        hanging = [task for task in sent if not task.done()]
        ended = {task.result().ended for task in sent if task.done()}
        for task in hanging:
            task.cancel()

    assert shown["promises"]["gold"]["between"]["disqualified"]
    assert len(hanging) >= 5
    assert ended <= {"ok"}
