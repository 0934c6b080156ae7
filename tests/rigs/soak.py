"""One gateway for a long time, under mixed traffic that ends in every way: what it holds more of.

The gateway is a process of its own; engines and clients share this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from gateways import MODELS, configuration
from oracle.engine import ScriptedEngine

from rigs.served import served
from rigs.soak_clients import Clients
from rigs.soak_operator import Operator
from rigs.soak_shots import ENGINES, Shot, script_at, shots
from rigs.soak_vitals import MIB, rss_of, vitals_of

READINGS = 400
PARTS, LOOKS, CHANGES = 10, 100, 40  # in a run: lines, rounds of the pages, changes
STORM, STRANGERS = 12_000, ("unknown", "odd")
SETTLED = 0.5  # of a run, in which caches, pools and heaps fill
TENANTS = {
    "acme": 'slo = "gold"\n',
    "globex": "batch_shared = true\n",
    "initech": "fallback = true\n",
    "tight": 'limits = { requests = "20/s", units = { "llm.output_tokens" = "2k/min" } }\n',
}
FACTS = {"chat": 'fallback = [{ model = "spare" }]'}
# What fills up by design is small, so that it is full soon.
MORE = """
[state]
directory = "{folder}/state"
[timeouts]
client_stalled = "2s"
body_idle = "1s"
drain = "5s"
[idempotency]
bodies = true
keys = 300
at_most = "1MiB"
[ledger]
segment = "2MiB"
keep_acknowledged = "10s"
[slo.gold.llm]
first_byte = {{ base = "20s" }}
[[discover]]
name = "found"
kind = "file"
path = "{folder}/found.json"
serves = {{ chat = "engine-chat", vectors = "engine-vectors" }}
"""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The gateway's resident bytes when so many requests were answered."""

    requests: int
    rss: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of it.

    `per_1000`: bytes of resident memory that 1,000 requests more took.  `statuses`: how often each;
    below 0 is what had none (`soak_clients`).  `wrong`: answers that should not have been, by name
    and status.  `left`: what the gateway held when all was over.
    """

    per_1000: float
    statuses: Mapping[int, int]
    wrong: Mapping[tuple[str, int], int]
    left: Mapping[str, float]


def slope_per_1000(readings: Sequence[Reading]) -> float:
    """Bytes by 1,000 requests, by least squares, of the part in which nothing fills any more."""
    last = max(each.requests for each in readings)
    kept = [each for each in readings if each.requests >= SETTLED * last]
    middle = sum(each.requests for each in kept) / len(kept)
    across = sum((each.requests - middle) ** 2 for each in kept)
    along = sum((each.requests - middle) * each.rss for each in kept)
    return 1000 * along / across if across else 0.0


@dataclass(slots=True, kw_only=True)
class Soak:
    """A gateway that serves, its clients and its operator."""

    pid: int
    shots: Sequence[Shot]
    clients: Clients
    operator: Operator
    tell: Tell
    readings: list[Reading] = field(default_factory=list)

    async def run(self, requests: int, *, storm: int = STORM) -> Verdict:
        """Send so many; look and change things by how many were answered.

        `storm`: so many bad keys come first, for what counts them is full late.
        """
        news = asyncio.Event()

        def answered(count: int) -> None:
            if count * READINGS // requests > len(self.readings):
                self.readings.append(Reading(requests=count, rss=rss_of(self.pid)))
                news.set()

        strangers = [shot for shot in self.shots if shot.key in STRANGERS]
        await self.clients.drive(strangers, storm, lambda _: None)
        async with asyncio.TaskGroup() as group:
            operating = group.create_task(self._operate(news))
            await self.clients.drive(self.shots, requests, answered)
            operating.cancel()
        await self.operator.settled()
        return Verdict(
            per_1000=slope_per_1000(self.readings),
            statuses=self.clients.statuses,
            wrong=self.clients.wrong + self.operator.wrong,
            left=await self._line(),
        )

    async def _operate(self, news: asyncio.Event) -> None:
        looked = changed = told = 0
        while True:
            await news.wait()
            news.clear()
            done = len(self.readings)
            if done * LOOKS // READINGS > looked:
                looked += 1
                await self.operator.look()
            if done * CHANGES // READINGS > changed:
                changed += 1
                self.clients.passing = await self.operator.change()
            if done * PARTS // READINGS > told:
                told += 1
                await self._line(head=told == 1)

    async def _line(self, *, head: bool = False) -> Mapping[str, float]:
        found = {
            "requests": self.clients.answered,
            "RSS MiB": rss_of(self.pid) / MIB,
            **await self.operator.sizes(),
            **vitals_of(self.pid),
        }
        if head:
            self.tell("".join(f"{name:>12}" for name in found))
        self.tell("".join(f"{f'{value:.1f}'.removesuffix('.0'):>12}" for value in found.values()))
        return found


@asynccontextmanager
async def soaking(folder: Path, *, seed: int, tell: Tell) -> AsyncIterator[Soak]:
    """A gateway before its engines, and clients that did not begin yet."""
    made = shots(seed)
    async with AsyncExitStack() as stack:
        engines = [ScriptedEngine(script_at(made, place)) for place in range(ENGINES)]
        for engine in engines:
            await stack.enter_async_context(engine)
        config, keys = _configured(folder, [engine.url for engine in engines])
        gateway = await stack.enter_async_context(served(config))
        session = await stack.enter_async_context(aiohttp.ClientSession(gateway.admin))
        operator = Operator(folder, session, script_at(made, ENGINES))
        stack.push_async_callback(operator.close)
        tight = keys.pop("tight")
        clients = Clients(gateway.port, made, list(keys.values()), tight, seed=seed)
        yield Soak(
            pid=gateway.process.pid, shots=made.all, clients=clients, operator=operator, tell=tell
        )


def _configured(folder: Path, urls: Sequence[str]) -> tuple[Path, dict[str, str]]:
    (folder / "found.json").write_text("[]")
    config, keys = configuration(
        folder,
        [{"url": url, "slots": 32} for url in urls],
        tenants=TENANTS,
        models={**MODELS, "spare": "llm"},
        facts=FACTS,
        more=MORE.format(folder=folder),
    )
    proxies = '[listen]\ntrusted_proxies = ["127.0.0.0/8"]\n'
    config.write_text(config.read_text().replace("[listen]\n", proxies))
    return config, keys
