"""Calls side by side: those behind the first wait for nobody, and what they say is told in order.

Source: architecture.md 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateways import Running, start
from made_plugins import Words, plugin
from waiting import until

from modgate.api.json import Json, JsonObject
from modgate.plugin import (
    SSE,
    Body,
    Call,
    Drawn,
    Endpoint,
    Event,
    Outcome,
    Plan,
    Relay,
    Request,
    Units,
    Usage,
)

FUNCTIONS = str(Path(__file__).parents[1] / "core" / "decoders" / "functions")
WITHIN_S = 20.0
CALLS, WIDTH = 3, 2
AHEAD = 2 * WIDTH
MADE = 30  # pieces
PIECE, PIECES = b"x" * (1 << 18), 64  # more than a lane and the sockets before it hold


class Told(Relay):
    """Says whose events come, and how long they are."""

    head = SSE

    def feed(self, index: int, event: Event) -> Iterator[bytes]:
        yield self.sse({"of": index, "bytes": len(event.data)})

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        yield self.sse({"ok": sum(each.ok for each in outcomes)})

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        return Usage(Units(input_tokens=sum(each.ok for each in outcomes)))


class Wide(Words):
    """Three calls, two at once; the path says which."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Plan:
        calls = [
            Call(path=f"/{n}", body=Body.of(), size=Units(input_tokens=1), reply="sse")
            for n in range(CALLS)
        ]
        return Plan(calls=calls, relay=Told(), width=WIDTH)


class Cut(Words):
    """Calls of the pieces that a decoder process makes, two at once."""

    def endpoints(self) -> Iterable[Endpoint]:
        yield Endpoint(path="/v1/words", shape=self.shape)

    def shape(self, request: Request) -> Plan:
        def to_call(index: int, piece: Json) -> Call:
            return Call(path=f"/{index}", body=Body.of(), size=Units(input_tokens=1), reply="sse")

        import decoder_jobs

        size = Units(input_tokens=MADE)
        return Plan(
            calls=Drawn(decoder_jobs.pieces, (MADE, 1), to_call),
            relay=Told(),
            reserve=size,
            width=WIDTH,
        )


class Engine:
    """The first call has its reply when it is released; the second one's is of `pieces`.

    `last`: of the calls that come before that.  `cut`: the second call's first attempt is cut off
    after its first event.  `refuses`: it is refused.
    """

    def __init__(
        self,
        *,
        pieces: int = PIECES,
        last: int = CALLS - 1,
        cut: bool = False,
        refuses: bool = False,
    ) -> None:
        self.pieces = pieces
        self.last = last
        self.cut = cut
        self.refuses = refuses
        self.released, self.reached = asyncio.Event(), asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        index = int(request.match_info["call"])
        if index == 0:
            await self.released.wait()
        if index == self.last:
            self.reached.set()
        if index == 1 and self.refuses:
            return web.json_response({"error": {"message": "no"}}, status=400)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(self.pieces if index == 1 else 1):
            await response.write(b"data: " + PIECE + b"\n\n")
            if index == 1 and self.cut:
                self.cut = False
                assert request.transport is not None
                request.transport.abort()
                return response
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def asked(
    folder: Path, engine: Engine, *, slots: int, kind: type[Words] = Wide
) -> AsyncIterator[tuple[Running, asyncio.Task[list[JsonObject]]]]:
    """A request whose first call is held, over an engine that two backends name, each with so many
    slots."""
    app = web.Application()
    app.router.add_post("/{backend}/{call}", engine.answer)
    async with TestServer(app) as server:
        backends = [
            {"url": str(server.make_url(f"/{name}")), "slots": slots, "serves": {"w": "w"}}
            for name in ("a", "b")
        ]
        words = {"words": plugin(modgate_modalities=[kind])}
        models = {"w": "words"}
        async with (
            await start(folder, backends, plugins=["words"], models=models, extra=words) as running,
            httpx.AsyncClient(base_url=running.url, headers=running.headers) as client,
            asyncio.timeout(WITHIN_S),
        ):

            async def told() -> list[JsonObject]:
                reply = await client.post("/v1/words", json={"model": "w"}, timeout=WITHIN_S)
                events = [line[6:] for line in reply.text.splitlines() if line[:5] == "data:"]
                return [orjson.loads(event) for event in events if event != "[DONE]"]

            async with asyncio.TaskGroup() as group:
                asking = group.create_task(told())
                await engine.reached.wait()
                yield running, asking


def one(index: int) -> JsonObject:
    return {"of": index, "bytes": len(PIECE)}


async def test_a_call_behind_the_first_is_read_to_its_end_and_gives_its_slot_back(
    tmp_path: Path,
) -> None:
    """Or the third one, which has its slot, would never reach the engine before the first is
    released."""
    engine = Engine()
    async with asked(tmp_path, engine, slots=1) as (_, asking):
        engine.released.set()
        told = await asking

    assert told == [one(0), *[one(1)] * PIECES, one(2), {"ok": CALLS}]


async def test_of_an_attempt_that_was_cut_behind_the_first_call_nothing_is_told(
    tmp_path: Path,
) -> None:
    engine = Engine(cut=True)
    async with asked(tmp_path, engine, slots=2) as (_, asking):
        engine.released.set()
        told = await asking

    assert told == [one(0), *[one(1)] * PIECES, one(2), {"ok": CALLS}]


async def test_a_call_that_fails_behind_the_first_ends_the_reply_when_its_turn_comes(
    tmp_path: Path,
) -> None:
    engine = Engine(refuses=True)
    async with asked(tmp_path, engine, slots=1) as (_, asking):
        engine.released.set()
        first, *told = await asking

    assert first == one(0)
    assert [[*each] for each in told] == [["error"]]


async def test_pieces_are_made_so_far_ahead_and_each_is_gone_when_its_call_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the width ahead of the last call that ended.  Source: architecture.md 5."""
    monkeypatch.setenv("PYTHONPATH", FUNCTIONS)
    monkeypatch.syspath_prepend(FUNCTIONS)
    engine = Engine(pieces=1, last=AHEAD - 1)
    async with asked(tmp_path, engine, slots=1, kind=Cut) as (running, asking):
        spool = running.app.state.spool
        await until(lambda: spool.files == AHEAD)  # all but the first had ended, and as many came
        await asyncio.sleep(0.2)
        held = spool.files
        engine.released.set()
        told = await asking
        left = spool.files

    assert (held, left) == (AHEAD, 0)
    assert told == [*map(one, range(MADE)), {"ok": MADE}]
