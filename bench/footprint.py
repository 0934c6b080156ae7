"""One request of each modality, then speech in each format: what the gateway holds afterwards.

`python bench/footprint.py`.  The exit code is 1 when one of each modality took too much.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from gateways import configuration  # found on the path that was set above
from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine
from oracle.faults import OK
from oracle.requests import ClientRequest
from rigs.each import BESIDES_CHAT
from rigs.served import Served, served
from rigs.soak_vitals import rss_of

AT_MOST_MB = 100.0
PAUSE_S = 0.005  # between two looks at whether the gateway answers
FORMATS = ("opus", "aac", "flac", "wav", "pcm")


def spoken(kind: str) -> ClientRequest:
    """Speech in a format."""
    request = BESIDES_CHAT["tts"]
    body = json.loads(request.body) | {"response_format": kind}
    return replace(request, body=json.dumps(body).encode())


async def waited(gateway: Served, key: str, request: ClientRequest) -> float:
    """Send it; the longest that another client waited meanwhile for a path that is none."""
    longest, done = 0.0, asyncio.Event()

    async def look() -> None:
        nonlocal longest
        async with aiohttp.ClientSession(gateway.url) as session:
            while not done.is_set():
                began = time.monotonic()
                async with session.get("/nothing") as reply:
                    await reply.read()
                longest = max(longest, time.monotonic() - began)
                await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        record = await send(gateway.url, request, key=key)
        done.set()
    if record.ended != "ok":
        raise SystemExit(f"void: {request.path}: {record.status}")
    return longest


async def held(gateway: Served, key: str, requests: Sequence[tuple[str, ClientRequest]]) -> float:
    """Send these, with a line for each; MB in the end."""
    for name, request in requests:
        longest = await waited(gateway, key, request)
        print(f"{rss_of(gateway.process.pid) / 1e6:6.1f} MB {longest * 1000:6.0f} ms  {name}")
    return rss_of(gateway.process.pid) / 1e6


async def main() -> None:
    """The command."""
    each = {"llm": ask.chat(1, model="chat"), **BESIDES_CHAT, "tts": spoken("mp3")}
    with tempfile.TemporaryDirectory(prefix="footprint-") as made:
        async with ScriptedEngine(lambda _: OK) as engine:
            more = f'[state]\ndirectory = "{made}/state"\n'
            config, keys = configuration(Path(made), [{"url": engine.url}], more=more)
            async with served(config) as gateway:
                print(f"{rss_of(gateway.process.pid) / 1e6:6.1f} MB            started")
                took = await held(gateway, keys["acme"], list(each.items()))
                await held(gateway, keys["acme"], [(kind, spoken(kind)) for kind in FORMATS])
    if took > AT_MOST_MB:
        raise SystemExit(f"{took:.1f} MB after one request of each modality")


if __name__ == "__main__":
    asyncio.run(main())
