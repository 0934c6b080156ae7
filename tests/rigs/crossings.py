"""A whole gateway without sockets, under topologies that are drawn: who is given what, and where.

Clients speak HTTP to the gateway's own protocol over transports of memory, and its calls arrive at
engines of memory.  Time stands still within a topology, or creeps, and jumps between two.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from gateways import configuration
from toys.errands import ERRANDS

import modgate.dispatch
import modgate.retrying
from modgate.api.auth import Caller
from modgate.api.select import Backend
from modgate.dispatch import Dispatch, guard_residency
from modgate.errors import NoBackend
from modgate.fleet.lease import Lease
from modgate.http.connection import Server, framing_refusal
from modgate.order import Order
from modgate.server.app import App
from modgate.server.public import Public
from modgate.snapshot.demo import LOCAL_GROUP
from modgate.stream import Stream
from rigs.abroad import Engine, Files, Frontier, mark
from rigs.virtual import Still

REGIONS = ("eu", "us", "ap", "")
INSTEAD = "instead"  # the model that stands in, and that nobody asks for
MODELS = {"vectors": "embedding", "errands": "errands", INSTEAD: "errands"}
SERVED = {"vectors": 0.9, "errands": 0.6, INSTEAD: 0.9}  # by so many of the engines
WAYS = ("first", "retry", "fallback", "unmet", "batch", "ask")
HERE = 6  # engines of each region
HOMES: dict[str, frozenset[str] | None] = {
    "anywhere": None,
    "nowhere": frozenset(),
    "eu": frozenset({"eu"}),
    "us": frozenset({"us"}),
    "eu-us": frozenset({"eu", "us"}),
    "eu-ap": frozenset({"eu", "ap"}),
}
CUT = "cut-to-eu"  # a tenant of any region, whose requests a policy keeps in one
SHARED, KEEN = "shared-", "keen-"  # what names of tenants begin with, and of an SLO class
CROWDED = 0.4  # of the topologies
CREEPS = 0.5  # of the topologies
PATIENCE, TURNS_AT_MOST = 150, 3000  # turns of the loop: then clients leave, or it hangs
LEAVING = 5  # turns in which what was given up is cleared away
TRACE = 1e-6
JUMPS_S = (0.1, 1.0, 40.0)
CREEP_S = 0.001  # a turn
MORE = f"""
[slo.keen.errands]
first_byte = {{ base = "10ms" }}
total = {{ base = "10ms" }}
[select.unmet]
keen = ["fallback", "best_effort"]
[policy.cuts]
tenants = ["{CUT}"]
region = "eu"
[policy.shows]
model = "vectors"
models = ["errands", "instead"]
on_failure = "open"
[fetch]
allow = ["https://files.example"]
"""


@dataclass(slots=True, eq=False)
class Passports:
    """Which way each call went, and which ones the last check stopped, by way.

    `order`, `way`: of the call that is being sent.
    """

    sent: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    order: Order | None = None
    way: str = ""


def way_of(order: Order) -> str:
    """Which way a call goes that looks for an engine, or is about to be sent."""
    if order.index < 0:
        return "ask"
    if len(order.each) > 1:
        return "batch"
    if order.model.name == INSTEAD:
        return "unmet" if order.draft.notes["fallback_on"] == "unmet" else "fallback"
    return "retry" if order.attempts else "first"


class Wire(asyncio.Transport):
    """A client's connection, in memory."""

    def __init__(self, server: Server) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self._got = bytearray()
        self._open = True
        self._protocol = server()
        self._protocol.connection_made(self)

    def say(self, data: bytes) -> None:
        """The client sends."""
        self._protocol.data_received(data)

    def close(self) -> None:
        """Either side hangs up."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return not self._open

    def write(self, data: Any) -> None:
        self._got += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    @property
    def status(self) -> int:
        """Of the reply; 0 = none came."""
        return int(self._got[9:12] or 0)

    @property
    def waits(self) -> bool:
        """Nobody hung up, and no reply came."""
        return self._open and not self._got


class Crossing:
    """A gateway among engines of several regions, with clients that may not be read everywhere."""

    def __init__(self, dice: random.Random) -> None:
        self.frontier = Frontier()
        self.passports = Passports()
        self.statuses: Counter[int] = Counter()
        self._dice = dice
        self._clock = Still()
        self._files = Files(self.frontier, dice)
        self._engines = {
            f"http://{region or 'x'}{number}": Engine(region, self.frontier, dice)
            for region in REGIONS
            for number in range(HERE)
        }

    async def topology(self, seed: int) -> None:
        """Draw one: its engines, a few clients at once, and what happens meanwhile."""
        dice = self._dice
        dice.seed(seed)
        random.seed(seed)
        self._clock.at += dice.choice(JUMPS_S)
        self._files.region = dice.choice(REGIONS)
        for engine in self._engines.values():
            engine.good, engine.slow = dice.choice((1.0, 0.8, 0.4)), dice.choice((1, 5, 15))
        self._state.use(replace(self._gateway, fetch_region=self._files.region))
        crowd = dice.choice((SHARED, KEEN)) if dice.random() < CROWDED else ""
        self._gateway.dispatch.use(self._backends(crowd))
        coming = (
            self._crowd(crowd) if crowd else [self._request() for _ in range(dice.randint(1, 4))]
        )
        wires: list[Wire] = []
        haste, changing, leaving = dice.choice((0.2, 1.0)), dice.random() < 0.5, dice.random() < 0.2
        creep_s = CREEP_S if dice.random() < CREEPS else 0.0
        turn = 0
        while coming or self._state.live or any(wire.waits for wire in wires):
            while coming and dice.random() <= haste:
                wires.append(Wire(self._server))
                wires[-1].say(coming.pop())
            await asyncio.sleep(0)
            self._clock.at += creep_s
            turn += 1
            assert turn < TURNS_AT_MOST, f"topology {seed} has no end"
            if changing and dice.random() < 0.1:
                self._gateway.dispatch.use(self._backends(crowd))
            self._leave(wires, 1.0 if turn > PATIENCE else 0.05 * leaving)
        for wire in wires:
            self.statuses[wire.status] += 1
            wire.close()
        for _ in range(LEAVING):
            await asyncio.sleep(0)
        assert not self._left(), f"topology {seed} leaves {self._left()}"

    def _left(self) -> list[str]:
        """What a request has and must not leave behind: slots, work, places, files."""
        fleet = self._state.fleet
        slots = {**fleet.slots, **fleet.groups}
        found = [f"a slot of {name}" for name, each in slots.items() if each.taken]
        found += [f"work at {key}" for key, each in fleet.standings.items() if each.work > TRACE]
        found += ["calls that wait"] if fleet.queued else []
        return found + (["files"] if self._state.spool.files else [])

    def _leave(self, wires: Sequence[Wire], chance: float) -> None:
        """Each client hangs up with this chance."""
        for wire in wires:
            if chance and self._dice.random() < chance:
                wire.close()

    def _backends(self, crowd: str) -> list[Backend]:
        """Some engines; one known by its uid may stand elsewhere than a moment ago."""
        dice = self._dice
        urls = dice.sample(sorted(self._engines), dice.randint(1, 2 if crowd == SHARED else 6))
        return [
            Backend(
                name=f"pods/{number}",
                uid=f"uid{number}" if dice.random() < 0.3 else "",
                family="home",
                url=url,
                serves={name: name for name, share in SERVED.items() if dice.random() < share},
                region=self._engines[url].region,
                slots=1 if crowd else dice.randint(1, 3),
                group=LOCAL_GROUP if dice.random() < 0.1 else "",
                draining=dice.random() < 0.15,
            )
            for number, url in enumerate(urls)
        ]

    def _crowd(self, kind: str) -> list[bytes]:
        """Many at once, of tenants whose calls may share trips, or will not wait."""
        dice = self._dice
        models = ["vectors"] if kind == SHARED else ["errand", "tale"]
        tenants = dice.sample([f"{kind}{name}" for name in HOMES], 3)
        return [
            self._request(dice.choice(tenants), dice.choice(models))
            for _ in range(dice.randint(4, 10))
        ]

    def _request(self, tenant: str = "", model: str = "") -> bytes:
        """A client's, who says where it may be read."""
        dice = self._dice
        tenant = tenant or dice.choice(sorted(self._keys))
        text, said = mark(self._homes[tenant]), {}
        match model or dice.choice(("vectors", "errand", "tale")):
            case "vectors":
                path = "/v1/embeddings"
                said = {"model": "vectors", "input": [text] * dice.randint(1, 3)}
            case "errand":
                path = "/v1/errand"
                said = {"model": "errands", "text": text, "pieces": dice.randint(1, 3)}
                if tenant != CUT:  # a policy rules when a plugin has asked and fetched
                    said["asks"] = dice.randint(0, 2)
                    said["url"] = f"https://files.example/?{text}" if dice.random() < 0.5 else ""
            case "tale":
                path, said = "/v1/tale", {"model": "errands", "text": text}
        body = json.dumps(said).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {self._keys[tenant]}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def open(self, folder: Path, patch: pytest.MonkeyPatch) -> App:
        """Start the gateway; `patch` puts engines, files and the clock of this world into it."""
        patch.setattr("modgate.server.app.SystemClock", lambda: self._clock)
        patch.setattr("modgate.connections.Client", lambda url, **_: self._engines[url])
        patch.setattr("modgate.state.Fetcher", lambda *_: self._files)
        patch.setattr("modgate.retrying.pause_s", _at_once(modgate.retrying.pause_s))
        self._watch(patch)
        agrees = "fallback = true\n"
        tenants, self._homes = {CUT: agrees}, {CUT: frozenset({"eu"})}
        more = {"": "", SHARED: "batch_shared = true\n", KEEN: 'slo = "keen"\n'}
        for kind, name in product(more, HOMES):
            home = self._homes[f"{kind}{name}"] = HOMES[name]
            regions = f"regions = {json.dumps(sorted(home))}\n" if home is not None else ""
            tenants[f"{kind}{name}"] = f"{regions}{agrees}{more[kind]}"
        path, self._keys = configuration(
            folder,
            [{"url": f"http://{each}0", "region": each} for each in REGIONS if each],
            tenants=tenants,
            plugins=("embedding", "errands"),
            models=MODELS,
            facts={"errands": f'fallback = ["{INSTEAD}"]\n'},
            more=MORE,
        )
        app = App(path, directory=folder / "state", extra={"errands": ERRANDS})
        await app.open()
        self._state, self._gateway = app.state, app.gateway
        app.state.entropy = random.Random(0).randbytes  # as the ids are, so is the run
        self._server = Server(Public(app.state).answer, framing_refusal(app.state.request_id))
        return app

    def _watch(self, patch: pytest.MonkeyPatch) -> None:
        """Note each call that is sent, and each that the last check stops."""
        passports, send = self.passports, Dispatch.send

        async def noted(self: Dispatch, order: Order, lease: Lease) -> Stream:
            passports.order, passports.way = order, way_of(order)
            passports.sent[passports.way] += 1
            return await send(self, order, lease)

        def guarded(backend: Backend, caller: Caller) -> None:
            try:
                guard_residency(backend, caller)
            except NoBackend:
                passports.stopped[passports.way] += 1
                raise

        patch.setattr(Dispatch, "send", noted)
        patch.setattr(modgate.dispatch, "guard_residency", guarded)


def _at_once(pause_s: Callable[..., float | None]) -> Callable[..., float | None]:
    """What is tried again is tried again at once."""

    def made(*args: Any, **more: Any) -> float | None:
        return None if pause_s(*args, **more) is None else 0.0

    return made


@asynccontextmanager
async def crossing(folder: Path) -> AsyncIterator[Crossing]:
    """A gateway that serves."""
    with pytest.MonkeyPatch.context() as patch:
        made = Crossing(random.Random())
        app = await made.open(folder, patch)
        try:
            yield made
        finally:
            await app.close()
