"""What is tried again after a fault, in every modality: each cell of the table, on sockets.

Source: algorithms.md 5.1.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gateways import MODELS, Running, receipts_of, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Fault, FaultKind, Refusal, Script
from oracle.requests import ClientRequest
from rigs.each import BESIDES_CHAT

from modgate.ledger.reader import rows

REQUESTS: dict[str, ClientRequest] = {
    "llm": ask.chat(1, model="chat"),
    "llm stream": ask.chat(2, model="chat", stream=True),
    **BESIDES_CHAT,
}
# Far more than any of these takes here, far less than what is waited for otherwise.
SOON = "".join(
    f'[timeouts.{modality}]\nfirst_byte = {{ base = "1s" }}\nattempt = {{ base = "1s" }}\n'
    for modality in MODELS.values()
)
FULL = Script(refusal=Refusal(status=503, retry_after="7"))
BUSY = Script(refusal=Refusal(status=429, retry_after="7"))
LOST: dict[str, Script] = {
    "502": Script(refusal=Refusal(status=502)),
    "504": Script(refusal=Refusal(status=504)),
    "reset": Script(fault=Fault(kind="reset", after=None)),
    "empty": Script(fault=Fault(kind="close", after=None)),
    "cut": Script(fault=Fault(kind="reset", after=0)),
}
FAULT = Script(refusal=Refusal(status=500))
SILENT = Script(fault=Fault(kind="silence", after=None))


class World:
    """A gateway before engines that share one list of scripts: a call takes the next of them."""

    def __init__(self, running: Running, engines: Sequence[ScriptedEngine]) -> None:
        self.running = running
        self.engines = engines
        self.receipts = receipts_of(running)

    @property
    def calls(self) -> int:
        """That came to any engine."""
        return sum(r.method == "POST" for engine in self.engines for r in engine.records)

    async def ask(self, request: ClientRequest, *scripts: Script) -> ClientRecord:
        """Send one; the last script stays.  Nothing is left of what was learned of the engines."""
        left = list(scripts)
        for engine in self.engines:
            engine.forget()
            engine.script_for = lambda record: left.pop(0) if len(left) > 1 else left[0]
        fleet = self.running.app.state.fleet
        fleet.retries.clear()
        for health in fleet.health.values():
            health.until = float("-inf")
        self.receipts.clear()
        return await send(self.running.url, request, key=self.running.key, within_s=15)

    @property
    def backends(self) -> list[str]:
        """Of each attempt of the last request."""
        [receipt] = self.receipts
        return [attempt.backend for attempt in receipt.attempts]

    @property
    def states(self) -> list[str]:
        """Of each attempt of the last request."""
        [receipt] = self.receipts
        return [attempt.state for attempt in receipt.attempts]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(ScriptedEngine()) for _ in range(3)]
        running = await start(tmp_path, [{"url": each.url} for each in engines], more=SOON)
        stack.push_async_callback(running.app.close)
        yield World(running, engines)


def elsewhere(world: World) -> bool:
    """Each attempt was made at another engine."""
    return len(set(world.backends)) == len(world.backends)


@pytest.mark.parametrize("route", REQUESTS)
async def test_each_cell_of_the_table(world: World, route: str) -> None:
    request, good = REQUESTS[route], Script()
    told: dict[str, object] = {}

    for name, script in {"503": FULL, "429": BUSY}.items():
        client = await world.ask(request, script, script, good)
        told[name] = (client.status, client.ended, len(world.backends), elsewhere(world))
        saturated = [h.until for h in world.running.app.state.fleet.health.values() if h.until > 0]
        told[f"{name} is left alone"] = len(saturated)
    for name, script in LOST.items():
        client = await world.ask(request, script, good)
        once = (client.status, client.ended, len(world.backends), elsewhere(world))
        client = await world.ask(request, script, script, good)
        told[name] = (once, client.status, len(world.backends))
    client = await world.ask(request, FAULT, good)
    once = (client.status, client.ended, len(world.backends), elsewhere(world))
    client = await world.ask(request, FAULT, FAULT, good)
    told["500"] = (once, client.status, len(world.backends))
    client = await world.ask(request, SILENT, good)
    told["late"] = (client.status, client.ended, world.states, elsewhere(world))
    for status in (400, 413, 422):
        client = await world.ask(request, Script(refusal=Refusal(status=status)), good)
        theirs = client.status is not None and 400 <= client.status < 500
        told[str(status)] = (theirs, len(world.backends), world.calls)

    well = (200, "ok", 2, True)
    assert told == {
        **dict.fromkeys(("503", "429"), (200, "ok", 3, True)),
        **dict.fromkeys(("503 is left alone", "429 is left alone"), 2),
        **dict.fromkeys(LOST, (well, 502, 2)),
        "500": (well, 502, 2),
        "late": (200, "ok", ["timed_out", "ok"], True),
        **dict.fromkeys(("400", "413", "422"), (True, 1, 1)),
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("scripts", "told"),
    [
        ((FAULT,), "false"),
        ((LOST["502"],), "false"),
        ((LOST["reset"],), "false"),
        ((FAULT, LOST["502"], BUSY), None),  # nobody failed it twice in one way
        ((FULL,), None),  # which is no fault of the request's
    ],
)
async def test_what_two_engines_failed_alike_an_sdk_is_told_not_to_send_again(
    world: World, scripts: Sequence[Script], told: str | None, *, stream: bool
) -> None:
    client = await world.ask(ask.chat(1, model="chat", stream=stream), *scripts)

    assert client.status in (429, 502)
    assert len(world.backends) > 1
    assert client.headers.get("x-should-retry") == told


@pytest.mark.parametrize("route", ["llm stream", "tts"])
async def test_never_once_an_event_was_fed(world: World, route: str) -> None:
    kinds: tuple[FaultKind, ...] = ("reset", "close", "end")
    for kind in kinds:
        script = Script(fault=Fault(kind=kind, after=2))
        await world.ask(REQUESTS[route], script, Script())

        assert (world.calls, len(world.backends)) == (1, 1)


async def test_the_only_engine_is_asked_again_only_where_no_word_of_its_own_came(
    tmp_path: Path,
) -> None:
    async with (
        ScriptedEngine() as engine,
        await start(tmp_path, [{"url": engine.url}], more=SOON) as running,
    ):
        world = World(running, [engine])
        found = {}
        for name, script in {**LOST, "500": FAULT, "503": FULL, "late": SILENT}.items():
            client = await world.ask(REQUESTS["llm stream"], script, Script())
            found[name] = (client.status, world.calls)
        away = await world.ask(REQUESTS["llm stream"], LOST["502"])

    assert (away.status, away.headers.get("x-should-retry")) == (502, None)  # it may come back
    assert found == {**dict.fromkeys(LOST, (200, 2)), "500": (502, 1), "503": (429, 1)} | {
        "late": (504, 1)
    }


# --- how many


async def played(running: Running, many: int) -> Counter[int | None]:
    """So many chats; the statuses of their replies."""
    gate = asyncio.Semaphore(8)

    async def one(tag: int) -> int | None:
        async with gate:
            sent = await send(running.url, ask.chat(tag, model="chat"), key=running.key)
            return sent.status

    return Counter(await asyncio.gather(*map(one, range(many))))


def counted(engines: Sequence[ScriptedEngine]) -> int:
    return sum(record.method == "POST" for engine in engines for record in engine.records)


@pytest.mark.slow
async def test_with_half_of_a_pool_out_engines_get_at_most_a_tenth_more_calls(
    tmp_path: Path,
) -> None:
    for number, bad in enumerate((FAULT, LOST["reset"], LOST["502"], FULL)):
        async with AsyncExitStack() as stack:
            scripts = [bad, bad, Script(), Script()]
            engines = [
                await stack.enter_async_context(ScriptedEngine(lambda record, each=each: each))
                for each in scripts
            ]
            folder = tmp_path / str(number)
            folder.mkdir()
            backends = [{"url": each.url} for each in engines]
            running = await start(folder, backends, plugins=["llm"])
            stack.push_async_callback(running.app.close)
            statuses = await played(running, 300)
            billed = Counter(row.ending for row in rows(running.ledger))

        # Of the first ones some fail twice, before anybody knows that both engines are out.
        assert statuses[200] >= 300 - 8
        assert billed["ok"] == statuses[200]
        assert counted(engines) <= 1.10 * 300


@pytest.mark.slow
async def test_where_all_fails_the_budget_ends_it_and_it_is_told(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(ScriptedEngine(lambda record: FAULT)) for _ in range(2)
        ]
        backends = [{"url": each.url} for each in engines]
        running = await start(tmp_path, backends, plugins=["llm"])
        stack.push_async_callback(running.app.close)
        world = World(running, engines)
        began = asyncio.get_running_loop().time()
        statuses = await played(running, 200)
        seconds = asyncio.get_running_loop().time() - began
        metrics = await running.page("/metrics")
        calls = counted(engines)

    noted = [r.notes.get("retry_budget_exhausted") for r in world.receipts]
    assert statuses == {502: 200}
    assert 200 < calls <= 200 + 10 + 0.1 * 200 + seconds + 1
    assert noted.count("chat") == 400 - calls
    assert f'modgate_retry_budget_exhausted_total{{model="chat"}} {400 - calls}' in metrics


# --- one gateway behind another


async def test_a_gateway_that_another_one_asks_tries_nothing_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(ScriptedEngine(lambda record: FAULT)) for _ in range(3)
        ]
        for name in ("inner", "outer"):
            (tmp_path / name).mkdir()
        inner = await start(tmp_path / "inner", [{"url": e.url} for e in engines], plugins=["llm"])
        stack.push_async_callback(inner.app.close)
        (tmp_path / "key").write_text(inner.key)
        behind = {"url": inner.url, "key": {"file": str(tmp_path / "key")}}
        outer = await start(
            tmp_path / "outer",
            [{**behind, "serves": {"chat": "chat"}}],
            plugins=["llm"],
        )
        stack.push_async_callback(outer.app.close)
        client = await send(outer.url, ask.chat(1, model="chat"), key=outer.key)
        through = counted(engines)
        attempts = [r.headers["x-modgate-attempt"] for e in engines for r in e.records]
        for engine in engines:
            engine.forget()
        direct = await send(inner.url, ask.chat(2, model="chat"), key=inner.key)

    assert (client.status, direct.status) == (502, 502)
    assert through == 2  # the outer one's, which takes a 502 for a gateway that lost it
    assert attempts == ["1", "1"]
    assert counted(engines) == 2


@pytest.mark.parametrize(("said", "calls"), [("1", 1), ("2", 1), ("0", 2), ("one", 2), ("", 2)])
async def test_the_count_of_an_outer_gateway_is_heard(world: World, said: str, calls: int) -> None:
    request = REQUESTS["llm"].with_headers(x_modgate_attempt=said)
    await world.ask(request, FAULT)

    assert world.calls == calls
    numbers = [r.headers["x-modgate-attempt"] for e in world.engines for r in e.records]
    assert sorted(numbers) == [str(number + 1) for number in range(calls)]
