"""A fleet to be spoilt: for each modality engines of several speeds, each behind a `Spoiler`, and
real llama.cpp servers; and the ways in which one engine of each pool goes wrong.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import aiohttp
from gateways import MODELS
from oracle.engine import ScriptedEngine
from oracle.faults import Refusal, Script
from oracle.record import Record
from oracle.words import MODALITIES
from servers import free_port

from modgate_llm.engine import GGUF, SmolLm
from rigs.spoiler import Spoiler, Spoils

How = Literal[
    "stall", "fast-fail", "black hole", "killed",
    "latency", "reset", "half-open", "drip", "truncate",
]  # fmt: skip  # rows as they are read
HOWS: tuple[How, ...] = ("stall", "fast-fail", "black hole", "killed")
SPOILT: dict[How, Spoils] = {
    "stall": Spoils(kind="stall"),
    "black hole": Spoils(kind="black_hole"),
    "killed": Spoils(kind="refuse"),
    "latency": Spoils(kind="latency", seconds=1.0),
    "reset": Spoils(kind="reset"),
    "half-open": Spoils(kind="half_open"),
    "drip": Spoils(kind="drip", piece_bytes=20, seconds=0.1),
    "truncate": Spoils(kind="truncate", after_bytes=400),
}
SPEEDS = (1.0, 1.25, 1.5, 1.8)  # times the fastest's time
FIRST_MS, BETWEEN_MS, TOKENS = 200.0, 25.0, 8
SPREAD = 0.15
SLOTS = 2
READY_S = 60.0
LLAMA = "llama"
NAMES = {modality: name for name, modality in MODELS.items()}
DATA = Path(os.environ.get("MODGATE_DATA", Path(__file__).parents[2] / ".models"))
SERVER = Path(__file__).parents[1] / "peers" / "llama_server.py"


class Engine(Protocol):
    """What stands behind a spoiler."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    async def go_wrong(self, how: How, spoiler: Spoiler) -> None:
        """As told, at once."""
        ...

    async def recover(self, spoiler: Spoiler) -> None:
        """All is well again."""
        ...

    async def close(self) -> None:
        """It is wanted no more."""
        ...


class Fake:
    """A scripted engine of one modality; `speed` times the fastest's time for everything."""

    def __init__(self, speed: float, rng: random.Random) -> None:
        self._speed = speed
        self._rng = rng
        self._fails = False
        self._engine = ScriptedEngine(self._script, most_records=1000)

    async def start(self) -> None:
        """Listen."""
        await self._engine.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._engine.port

    def _script(self, record: Record) -> Script:
        if self._fails:
            return Script(refusal=Refusal(status=500))
        factor = self._speed * (1 + SPREAD * (2 * self._rng.random() - 1))
        return Script(
            tokens=TOKENS,
            headers_after_ms=FIRST_MS / 2 * factor,
            first_byte_after_ms=FIRST_MS / 2 * factor,
            between_ms=BETWEEN_MS * factor,
        )

    async def go_wrong(self, how: How, spoiler: Spoiler) -> None:
        """As told, at once."""
        if how == "fast-fail":
            self._fails = True
            return
        if how == "killed":
            self._engine.kill()
        spoiler.spoil(SPOILT[how])

    async def recover(self, spoiler: Spoiler) -> None:
        """All is well again."""
        self._fails = False
        if not self._engine.alive:
            await self._engine.restart()
        spoiler.spoil(None)

    async def close(self) -> None:
        """It is wanted no more."""
        await self._engine.close()


class Llama:
    """llama.cpp's own server in a process, with the demo model."""

    def __init__(self, output: Path) -> None:
        self.port = free_port()
        self._output = output
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Until it is ready; TimeoutError when it is not."""
        with self._output.open("ab") as file:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(SERVER),
                str(self.port),
                stdout=file,
                stderr=file,
                env={**os.environ, "MODGATE_DATA": str(DATA), "OMP_NUM_THREADS": "1"},
            )
        async with asyncio.timeout(READY_S):
            await _well(f"http://127.0.0.1:{self.port}/health")

    def _tell(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    async def go_wrong(self, how: How, spoiler: Spoiler) -> None:
        """As told, at once."""
        if how == "stall":
            self._tell(signal.SIGSTOP)
            return
        if how == "killed":
            self._tell(signal.SIGKILL)
        spoiler.spoil(SPOILT["reset" if how == "fast-fail" else how])

    async def recover(self, spoiler: Spoiler) -> None:
        """All is well again; one that was killed is started."""
        assert self._process is not None
        if self._process.returncode is None:
            self._tell(signal.SIGCONT)
        else:
            await self.start()
        spoiler.spoil(None)

    async def close(self) -> None:
        """It is wanted no more."""
        if self._process is not None and self._process.returncode is None:
            self._tell(signal.SIGKILL)
            await self._process.wait()


async def _well(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """An engine in its pool, and what stands before it."""

    name: str
    model: str
    engine: Engine
    spoiler: Spoiler
    family: str = "home"

    def backend(self) -> Mapping[str, object]:
        """Its `[[backend]]`."""
        served = SmolLm.model if self.model == LLAMA else f"engine-{self.model}"
        return {
            "name": self.name,
            "family": self.family,
            "url": self.spoiler.url,
            "slots": SLOTS,
            "serves": {self.model: served},
        }


class LiveFleet:
    """All posts, by the model that they serve."""

    def __init__(self, posts: Sequence[Post]) -> None:
        self.posts = posts
        self.models = list(dict.fromkeys(post.model for post in posts))

    def asked(self) -> dict[str, int]:
        """Calls that were sent to each post's engine so far, by the post's name."""
        return {post.name: post.spoiler.asked.total() for post in self.posts}

    def asked_for(self, request_ids: Sequence[str]) -> int:
        """Calls that were sent to any engine for these requests."""
        return sum(post.spoiler.asked[each] for post in self.posts for each in request_ids)

    def busiest(self, since: Mapping[str, int]) -> list[Post]:
        """Of each pool the post that was asked the most."""

        def more(post: Post) -> int:
            return post.spoiler.asked.total() - since[post.name]

        pools = [[post for post in self.posts if post.model == model] for model in self.models]
        return [max(pool, key=more) for pool in pools]


@asynccontextmanager
async def live_fleet(
    folder: Path, *, seed: int, speeds: Sequence[float] = SPEEDS, llamas: int = 2
) -> AsyncIterator[LiveFleet]:
    """Engines of each speed for each modality, and so many llama.cpp servers."""
    rng = random.Random(seed)
    posts: list[Post] = []
    async with AsyncExitStack() as stack:

        async def add(name: str, model: str, engine: Fake | Llama, family: str) -> None:
            stack.push_async_callback(engine.close)
            await engine.start()
            spoiler = await stack.enter_async_context(Spoiler("127.0.0.1", engine.port))
            posts.append(
                Post(name=name, model=model, engine=engine, spoiler=spoiler, family=family)
            )

        for modality in MODALITIES:
            for speed in speeds:
                fake = Fake(speed, rng)
                await add(f"{modality}-{speed:g}x", NAMES[modality], fake, "home")
        for number in range(llamas):
            llama = Llama(folder / f"llama-{number}.out")
            await add(f"llama-{number}", LLAMA, llama, "llamacpp")
        yield LiveFleet(posts)


def has_llama() -> bool:
    """Whether the demo model is installed."""
    return (DATA / GGUF).exists()
