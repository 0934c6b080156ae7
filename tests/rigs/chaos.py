"""kill -9 at random moments under mixed traffic, and what client, engine and ledger say after."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from gateways import MODELS, configuration
from oracle.client import ClientRecord
from oracle.crash import Open, Verdict, judge
from oracle.engine import ScriptedEngine
from oracle.mix import Planned, draw
from oracle.play import play
from servers import free_port

from modgate.api.secret import Secret
from modgate.ledger.frames import Kind
from modgate.ledger.reader import rows
from modgate.ledger.records import Opened
from modgate.ledger.segments import frames_of, segments
from rigs.ledger import compared
from rigs.zygote import Forked

NAMES = {modality: name for name, modality in MODELS.items()}
TIMES = "[timeouts]\nidle = '2s'\nclient_stalled = '5s'\n"
START_S = 60.0
# Before a kill: while requests begin, while they run, and when some of them were touched.
WAITS_S = ((0.0, 0.2), (0.0, 0.2), (0.2, 0.8), (1.1, 1.5))


@dataclass(slots=True, eq=False)
class Victim:
    """A gateway of its own process; `up` while clients may begin, `kills`: when it died."""

    config: Path
    url: str
    up: asyncio.Event = field(default_factory=asyncio.Event)
    kills: list[float] = field(default_factory=list)
    _process: Forked | None = None

    async def start(self) -> None:
        """Up, when it listens."""
        self._process = Forked(
            ["serve", str(self.config), "--log-level", "error"], self.config.with_name("output")
        )
        place, end = urlsplit(self.url), time.monotonic() + START_S
        while True:
            assert self._process.poll() is None, "the gateway did not start"
            assert time.monotonic() < end, "the gateway does not listen"
            try:
                _, writer = await asyncio.open_connection(place.hostname, place.port)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                break
        self.up.set()

    async def kill(self) -> None:
        """Dead at once, with all that it had in hand."""
        self.up.clear()
        self.kills.append(time.monotonic())
        assert self._process is not None
        self._process.kill()
        assert await asyncio.to_thread(self._process.wait, START_S) == -signal.SIGKILL

    async def close(self) -> None:
        """An orderly end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(self._process.wait, START_S) == 0


async def chaos(folder: Path, *, seed: int, kills: int, requests: int) -> Verdict:
    """Play a mix of all modalities, leaving clients and failing engines included, and kill the
    gateway so often while it is played."""
    mix = draw(seed=seed, count=requests, least=2, models=NAMES, timeout_s=1.6)
    planned = [each for each in mix.planned.values() if not each.alone]
    rng = random.Random(seed)
    async with ScriptedEngine(script_for=mix.script_for) as engine:
        victim, key = _victim(folder, engine.url)
        await victim.start()
        try:
            clients = await _under_fire(victim, engine, planned, key, kills, rng)
        finally:
            await victim.close()
        records = list(engine.records)
    ledger = folder / "state" / "ledger"
    secret = Secret((folder / "state" / "ledger-key").read_text().strip())
    return judge(records, clients, compared(rows(ledger, secret)), _opened(ledger), victim.kills)


def _victim(folder: Path, engine: str) -> tuple[Victim, str]:
    port = free_port()
    state = f'[state]\ndirectory = "{folder / "state"}"\n'
    config, keys = configuration(folder, [{"url": engine, "slots": 256}], more=TIMES + state)
    text = config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    config.write_text(text)
    return Victim(config=config, url=f"http://127.0.0.1:{port}"), next(iter(keys.values()))


async def _under_fire(
    victim: Victim,
    engine: ScriptedEngine,
    planned: Sequence[Planned],
    key: str,
    kills: int,
    rng: random.Random,
) -> list[ClientRecord]:
    """Clients begin while the gateway is up, so many between two kills that all come to pass."""
    share = max(1, len(planned) // (kills + 1))
    started: set[asyncio.Task[ClientRecord]] = set()
    room = asyncio.Semaphore(24)

    async def one(each: Planned) -> ClientRecord:
        try:
            return await play(each, victim.url, [engine], key=key)
        finally:
            room.release()

    for number, each in enumerate(planned):
        await room.acquire()
        await victim.up.wait()
        started.add(asyncio.create_task(one(each)))
        if number % share == share - 1 and len(victim.kills) < kills:
            least_s, most_s = rng.choice(WAITS_S)
            await asyncio.sleep(rng.uniform(least_s, most_s))
            await victim.kill()
            await victim.start()
    return list(await asyncio.gather(*started))


def _opened(ledger: Path) -> Mapping[str, Open]:
    """What the open frames say, read apart from the code that recovers."""
    found: dict[str, Open] = {}
    for path in segments(ledger).values():
        for _, frame in frames_of(path, None):
            if frame.kind is not Kind.OPEN:
                continue
            said = msgspec.msgpack.decode(frame.payload, type=Opened)
            first = found.get(said.id)
            if first is None:
                found[said.id] = Open(modality=said.modality, reserved=said.reserved)
            elif said.touched is not None:
                found[said.id] = Open(
                    modality=first.modality, reserved=first.reserved, touched=said.touched
                )
    return found
