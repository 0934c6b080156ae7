"""Shared trips before a scripted accelerator: throughput at four times the saturation of single
dispatch, and the median at low load.

`python bench/batching.py`.  The engine works on 2 calls at once, each 10 ms + 0.5 ms an input; the
gateway stands before it with 2 slots, once with `trip_items = 1` and once as it is.  Requests of
one text each come at a steady rate, whatever is answered.  A run is void unless each good reply is
its own text's vector and the ledger holds what the engine counted.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from gateways import configuration  # the tests' own way to write a configuration

from modgate.ledger.reader import rows  # behind the path that is set above

SLOTS, CALL_S, INPUT_S = 2, 0.010, 0.0005
SATURATION = SLOTS / (CALL_S + INPUT_S)
START_S = 20.0


@dataclass(slots=True)
class Engine:
    """The scripted engine, and what it served."""

    calls: int = 0
    tokens: int = 0
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))

    async def embed(self, request: web.Request) -> web.Response:
        texts = orjson.loads(await request.read())["input"]
        async with self.gate:
            await asyncio.sleep(CALL_S + INPUT_S * len(texts))
        counts = [len(text) for text in texts]
        self.calls += 1
        self.tokens += sum(counts)
        data = [{"index": i, "embedding": [int(text)]} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": sum(counts), "by_input": counts}
        return web.Response(
            body=orjson.dumps({"data": data, "usage": usage}), content_type="application/json"
        )


@dataclass(slots=True)
class Load:
    """What came back."""

    took_s: list[float] = field(default_factory=list)
    refused: int = 0
    bad: int = 0
    ended_s: float = 0.0


@asynccontextmanager
async def engine() -> AsyncIterator[tuple[Engine, int]]:
    made = Engine()
    app = web.Application()
    app.router.add_post("/v1/embeddings", made.embed)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield made, runner.addresses[0][1]
    await runner.cleanup()


@asynccontextmanager
async def gateway(folder: Path, port: int, trip_items: int) -> AsyncIterator[tuple[int, str]]:
    """`modgate serve` in a process of its own: where it listens, and a key."""
    backends = [{"url": f"http://127.0.0.1:{port}", "slots": SLOTS}]
    path, keys = configuration(folder, backends, plugins=("embedding",))
    own = "[plugin.embedding]"
    text = path.read_text().replace(own, f"{own}\ntrip_items = {trip_items}")
    path.write_text(f'{text}[state]\ndirectory = "{folder / "state"}"\n[log]\nlevel = "warning"\n')
    process = await asyncio.create_subprocess_exec(
        "modgate", "serve", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        while b"modgate serves" not in (line := await process.stdout.readline()):
            pass
    yield int(line.split()[2].rpartition(b":")[2].rstrip(b",/")), keys["acme"]
    process.terminate()
    await process.wait()


async def one(session: aiohttp.ClientSession, url: str, number: int, load: Load) -> None:
    began = time.perf_counter()
    async with session.post(url, json={"model": "vectors", "input": str(number)}) as reply:
        body = await reply.read()
    if reply.status == 429:
        load.refused += 1
    elif reply.status == 200 and orjson.loads(body)["data"][0]["embedding"] == [number]:
        load.took_s.append(time.perf_counter() - began)
    else:
        load.bad += 1


async def drive(port: int, key: str, per_second: float, seconds: float) -> Load:
    load, url = Load(), f"http://127.0.0.1:{port}/v1/embeddings"
    headers = {"Authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_second * seconds)):
                await asyncio.sleep(began + number / per_second - time.perf_counter())
                group.create_task(one(session, url, number, load))
        load.ended_s = time.perf_counter() - began
    return load


async def measured(trip_items: int, seconds: float) -> tuple[float, float]:
    """Good replies a second at four times saturation, and the median at a tenth of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        async with engine() as (made, at), gateway(folder, at, trip_items) as (port, key):
            await drive(port, key, 50, 1)
            quiet = await drive(port, key, SATURATION / 10, seconds)
            before = made.calls
            loud = await drive(port, key, 4 * SATURATION, seconds)
            calls = made.calls - before
        bad = quiet.bad + loud.bad
        billed = sum(
            row.units.get("embedding.input_tokens", 0) for row in rows(folder / "state/ledger")
        )
        if bad or quiet.refused or billed != made.tokens:
            raise SystemExit(f"void: {bad} bad, {billed} tokens billed of {made.tokens}")
    per_second = len(loud.took_s) / loud.ended_s
    print(
        f"trip_items = {trip_items:<2}  {per_second:6.0f} good replies/s, {loud.refused} refused, "
        f"{len(loud.took_s) / calls:4.1f} a call, p50 {statistics.median(loud.took_s) * 1000:6.1f}"
        f" ms; at low load p50 {statistics.median(quiet.took_s) * 1000:5.1f} ms; tokens billed "
        f"{billed} = the engine's count"
    )
    return per_second, statistics.median(quiet.took_s)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    seconds = parser.parse_args().seconds
    print(f"single dispatch saturates at {SATURATION:.0f}/s; {4 * SATURATION:.0f}/s are sent")
    single, quiet_s = await measured(1, seconds)
    shared, quiet_shared_s = await measured(32, seconds)
    print(
        f"throughput {shared / single:.2f} x single dispatch; "
        f"p50 at low load {quiet_shared_s / quiet_s:.2f} x"
    )


if __name__ == "__main__":
    asyncio.run(main())
