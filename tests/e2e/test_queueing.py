"""Calls that wait, over sockets: whose turn it is, who is refused, and what it is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateways import Running, start
from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.engine import ScriptedEngine
from oracle.faults import Script
from oracle.requests import ClientRequest
from rigs.unhurried import UnhurriedLoop, unhurried
from waiting import WITHIN_S, until

from modgate.plugin import Load

FLOOD = "flood"
QUIET = "quiet"
PAGE = Path(__file__).parents[2] / "docs" / "operators" / "queueing.md"
HELD = Script(held=True)  # until `go_on`, so that what is to wait waits however slow the machine is


@asynccontextmanager
async def served(
    folder: Path,
    script: Script,
    *,
    slots: int = 1,
    more: str = "",
    tenants: Mapping[str, str] | None = None,
    plugins: tuple[str, ...] = ("llm", "asr"),
) -> AsyncIterator[tuple[Running, ScriptedEngine]]:
    """A gateway with two tenants before one engine of so many slots."""
    async with (
        ScriptedEngine(lambda record: script) as engine,
        await start(
            folder,
            [{"url": engine.url, "slots": slots}],
            plugins=plugins,
            tenants=tenants or {FLOOD: "", QUIET: ""},
            more=more,
        ) as running,
    ):
        yield running, engine


def go_on(engine: ScriptedEngine, script: Script) -> None:
    """Calls that are held are answered, and others as the script says."""
    engine.script_for = lambda record: script
    for record in engine.records:
        engine.release(record.request_id)


def told(engine: ScriptedEngine, calls: int) -> bool:
    """Whether the engine knows what it was asked for by so many calls: their bodies are there."""
    return sum(bool(record.tags) for record in engine.records) >= calls


def asked(engine: ScriptedEngine, tag: int) -> bool:
    """Whether the engine has had this request."""
    return any(tag in record.tags for record in engine.records)


class Sent:
    """Requests of tenants, in the order in which they ended."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._tasks: list[asyncio.Task[None]] = []
        self.ended: list[str] = []
        self.refused: list[tuple[str, int]] = []
        self.refused_after_s: list[float] = []

    def send(self, tenant: str, request: ClientRequest, name: str = "") -> None:
        """On its way."""
        self._tasks.append(asyncio.ensure_future(self._send(tenant, request, name or tenant)))

    async def _send(self, tenant: str, request: ClientRequest, name: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        client = await send(self._running.url, request, key=self._running.keys[tenant])
        if client.status == 200:
            self.ended.append(name)
        else:
            headers = {key.lower(): value for key, value in client.headers.items()}
            self.refused.append((name, int(headers.get("retry-after", 0))))
            self.refused_after_s.append(loop.time() - began)
            assert client.status == 429

    async def waiting(self, calls: int) -> None:
        """Until so many wait."""
        await until(lambda: self._running.app.state.fleet.queued >= calls)

    async def all(self) -> list[str]:
        """Until all have ended."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self._tasks)
        return self.ended


def chat(tag: int) -> ClientRequest:
    return ask.chat(tag, model="chat")


async def test_a_quiet_tenant_does_not_wait_behind_a_flood(tmp_path: Path) -> None:
    async with served(tmp_path, HELD) as (running, engine):
        sent = Sent(running)
        for tag in range(10):
            sent.send(FLOOD, chat(tag))
        await sent.waiting(9)
        sent.send(QUIET, chat(10))
        await sent.waiting(10)
        go_on(engine, Script(headers_after_ms=40))
        ended = await sent.all()

    assert ended.index(QUIET) <= 2  # after the one under way, and at most one more
    assert running.app.state.fleet.queued == 0


async def test_weights_of_classes_and_tenants_count(tmp_path: Path) -> None:
    slo = '[slo.gold.llm]\ntotal = { base = "9s" }\n[slo.batch.llm]\ntotal = { base = "9s" }\n'
    weights = "[queue]\nweights = { gold = 4, batch = 1 }\n"
    tenants = {"a": 'slo = "gold"', "b": 'slo = "batch"'}
    script = Script(headers_after_ms=20)
    async with served(tmp_path, script, more=slo + weights, tenants=tenants) as (running, engine):
        sent = Sent(running)
        sent.send("a", chat(99))  # what a call of this model takes is known from now on
        await sent.all()
        engine.script_for = lambda record: HELD
        for tag in range(20):
            sent.send("a" if tag % 2 else "b", chat(tag))
        await sent.waiting(19)
        go_on(engine, script)
        ended = await sent.all()

    assert ended[2:12].count("a") >= 7


@pytest.mark.slow
async def test_a_short_utterance_does_not_wait_behind_a_long_file(tmp_path: Path) -> None:
    """Neither another tenant's nor one's own: a file's pieces take turns with other requests."""
    long_ms = 600_000  # more than twenty pieces, of which eight are asked for at once
    async with served(tmp_path, HELD) as (running, engine):
        sent = Sent(running)
        sent.send(FLOOD, ask.transcription(1, model="ears", duration_ms=long_ms), "file")
        waited = []
        # The engine has a piece of the file, and then the first word: all eight pieces wait.
        for tag, tenant, pieces in ((2, QUIET, 7), (3, FLOOD, 8)):
            await sent.waiting(pieces)
            word = ask.transcription(tag, model="ears", duration_ms=3_000)
            sent.send(tenant, word, f"word of {tenant}")
            await sent.waiting(pieces + 1)
            before = len(engine.records)
            while not asked(engine, tag):
                had = len(engine.records)
                engine.release(engine.records[-1].request_id)
                await until(lambda had=had: told(engine, had + 1))
            waited.append(len(engine.records) - before)
        go_on(engine, Script())
        ended = await sent.all()
        pieces = sum(record.tags == (1,) for record in engine.records)

    assert ended[-1] == "file"
    assert pieces > 20
    assert waited[0] <= 3
    assert waited[1] <= 4


@pytest.mark.slow
async def test_a_long_file_before_a_slow_pool_is_never_given_up_in_its_midst(
    tmp_path: Path,
) -> None:
    """What a pool does is a guess; a request that it has worked on does not pay for a bad one."""
    more = '[queue]\nwork = "10ms"\n'
    async with served(tmp_path, Script(headers_after_ms=60), more=more) as (running, engine):
        sent = Sent(running)
        sent.send(FLOOD, ask.transcription(1, model="ears", duration_ms=1_200_000), "file")
        tally = running.app.state.fleet.lines["ears"].tally
        await until(lambda: tally.rate > 0)
        engine.script_for = lambda record: HELD
        await sent.waiting(7)
        word = ask.transcription(2, model="ears", duration_ms=30_000)
        sent.send(FLOOD, word, "a request too many")
        await until(lambda: sent.refused)
        go_on(engine, Script())
        ended = await sent.all()

    assert ended == ["file"]
    assert [name for name, _ in sent.refused] == ["a request too many"]
    assert sum(record.tags == (1,) for record in engine.records) > 30


@pytest.mark.parametrize(
    ("stream", "header"),
    [
        (False, "x-request-timeout"),
        (False, "x-stainless-read-timeout"),
        (True, "x-stainless-read-timeout"),
    ],
)
@pytest.mark.parametrize("late_s", [0.0, 0.5])
def test_who_waited_in_vain_is_told_of_the_queue_and_not_of_an_engine(
    tmp_path: Path, stream: bool, header: str, late_s: float
) -> None:
    """Also where the loop is so late that all deadlines are over when it looks."""
    hurried = ask.chat(2, model="chat", stream=stream).with_headers(**{header: "0.3"})

    async def waited(loop: UnhurriedLoop) -> ClientRecord:
        async with served(tmp_path, Script(headers_after_ms=900)) as (running, engine):
            sent = Sent(running)
            sent.send(FLOOD, chat(1), "first")
            await engine.reached(1)
            asking = asyncio.create_task(send(running.url, hurried, key=running.keys[QUIET]))
            await sent.waiting(1)
            loop.stall(late_s)
            client = await asking
            await sent.all()
            assert not asked(engine, 2)
            return client

    client = unhurried(waited)

    headers = {name.lower(): value for name, value in client.headers.items()}
    assert (client.status, json.loads(client.body)["error"]["code"]) == (429, "overloaded")
    assert int(headers["retry-after"]) >= 1
    assert headers["x-modgate-queue-place"] == "1"


async def test_who_floods_is_refused_and_told_when_to_come_again(tmp_path: Path) -> None:
    more = "[queue]\ncalls = 8\n"
    async with served(tmp_path, HELD, more=more) as (running, engine):
        sent = Sent(running)
        for tag in range(12):
            sent.send(FLOOD, chat(tag))
        await until(lambda: len(sent.refused) == 12 - 1 - 4)
        for tag in range(12, 15):
            sent.send(QUIET, chat(tag))
        await sent.waiting(4 + 3)
        go_on(engine, Script(headers_after_ms=50))
        await sent.all()

        await asyncio.sleep(max(seconds for _, seconds in sent.refused))
        again = await send(running.url, chat(20), key=running.keys[FLOOD])

    assert again.status == 200  # what was told was true
    assert {name for name, _ in sent.refused} == {FLOOD}
    assert len(sent.refused) == 12 - 1 - 4  # half of the places are one tenant's
    assert sent.ended.count(QUIET) == 3
    assert all(1 <= seconds <= 60 for _, seconds in sent.refused)


async def test_a_call_that_would_be_late_is_refused_at_once(tmp_path: Path) -> None:
    slo = '[slo.fast.llm]\ntotal = { base = "9s" }\n[queue]\npatience = { fast = "3s" }\n'
    tenants = {FLOOD: 'slo = "fast"', QUIET: 'slo = "fast"'}
    async with served(tmp_path, Script(headers_after_ms=100), more=slo, tenants=tenants) as (
        running,
        _,
    ):
        sent = Sent(running)
        sent.send(FLOOD, chat(99))  # what a call of this model takes is known from now on
        await sent.all()
        tally = running.app.state.fleet.lines["chat"].tally
        while not tally.rate:  # what the pool does is learned
            for tag in range(4):
                sent.send(FLOOD, chat(tag))
            await sent.all()
        sent = Sent(running)
        for tag in range(60):
            sent.send(FLOOD, chat(tag))
        await sent.waiting(5)
        quiet = await send(running.url, chat(70), key=running.keys[QUIET])
        await sent.all()

    assert quiet.status == 200
    assert len(sent.refused) > 20
    assert sorted(sent.refused_after_s)[15] < 1.5  # and not when their three seconds were over
    assert len(sent.ended) > 8


async def scraped(running: Running) -> tuple[dict[str, str], dict[str, float]]:
    """The kind of each metric, and the value of each series of the model or modality."""
    lines = (await running.page("/metrics")).splitlines()
    kinds = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
    series = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return kinds, {name: float(value) for name, _, value in series}


async def test_what_an_autoscaler_needs_is_in_the_metrics(tmp_path: Path) -> None:
    async with served(tmp_path, HELD, slots=2) as (running, engine):
        sent = Sent(running)
        for tag in range(6):
            sent.send(FLOOD, chat(tag))
        await sent.waiting(4)
        kinds, during = await scraped(running)
        go_on(engine, Script())
        await sent.all()
        _, after = await scraped(running)

    chats = '{model="chat"}'
    assert during[f"modgate_pool_queued_calls{chats}"] == 4
    assert during[f"modgate_pool_queued_units{chats}"] > 0
    assert during[f"modgate_pool_queued_bytes{chats}"] > 100
    assert during[f"modgate_pool_slots{chats}"] == 2
    assert during[f"modgate_pool_slots_taken{chats}"] == 2
    assert during['modgate_backend_slots_limit{backend="b0"}'] == 2
    assert during['modgate_queue_depth_calls_count{modality="llm"}'] == 4
    assert during['modgate_queue_depth_calls_bucket{modality="llm",le="1"}'] == 2
    assert after[f"modgate_pool_queued_calls{chats}"] == 0
    offered = after[f"modgate_pool_offered_units_total{chats}"]
    assert offered == during[f"modgate_pool_offered_units_total{chats}"]
    assert after[f"modgate_pool_served_units_total{chats}"] == pytest.approx(offered)
    told = set(re.findall(r"modgate_[a-z_]+", PAGE.read_text()))
    assert len(told) >= 12
    assert told - kinds.keys() == set()


async def test_the_examples_for_autoscalers_ask_for_what_is_there(tmp_path: Path) -> None:
    page = PAGE.read_text()
    triggers = page.split("- type: prometheus\n")[1:]
    externals = re.findall(r"- type: External\n(?:.+\n){3}", page)
    async with served(tmp_path, Script()) as (running, engine):
        assert (await send(running.url, chat(1), key=running.key)).status == 200
        app = running.app
        app.state.board.remark(engine.url, Load(kv_use=0.5), app.state.clock.now(), 5.0)
        kinds, series = await scraped(running)

    assert (len(triggers), len(externals)) == (3, 2)
    for trigger in triggers:
        [(metric, labels)] = re.findall(r"query: .*(modgate_\w+)(\{.*?\})", trigger)
        counts = f"rate({metric}{labels}[" in trigger

        assert metric + labels in series
        assert kinds[metric] == ("counter" if counts else "gauge")
        # A rate is shared out among the engines; what they have in common is held against them all.
        assert ("metricType: Value" in trigger) != counts
    for external in externals:
        [(how, metric)] = re.findall(r"# the (rate|max) of (modgate_\w+)", external)

        assert kinds[metric] == ("counter" if how == "rate" else "gauge")
        assert f"type: {'AverageValue' if how == 'rate' else 'Value'}," in external


async def test_an_engine_that_is_late_is_given_fewer_calls_at_once(tmp_path: Path) -> None:
    slo = '[slo.fast.llm]\ntotal = { base = "50ms" }\n'
    tenants = {FLOOD: 'slo = "fast"', QUIET: ""}
    async with served(
        tmp_path, Script(headers_after_ms=150), slots=10, more=slo, tenants=tenants
    ) as (running, _):
        sent = Sent(running)
        for tag in range(20):
            sent.send(QUIET, chat(tag))
        await sent.all()
        _, before = await scraped(running)
        for tag in range(20):
            sent.send(FLOOD, chat(tag))
        await sent.all()
        _, after = await scraped(running)

    limit = 'modgate_backend_slots_limit{backend="b0"}'
    assert before[limit] == 10  # nothing was promised to these
    assert after[limit] == 9
