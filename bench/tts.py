"""Speech: how soon it begins, whether it clicks, and what it does to others.

`python bench/tts.py [first] [joints] [beside]`, all of them by default.

first   time to the first audio through the gateway over the engine's own first piece, by a scripted
        engine and by the local model; the promise is at most 1.3
joints  speech of the local model in pieces beside its single shot: length within 2 %, and the
        steepest step at a joint beside the steepest inside
beside  200 chat streams, alone and beside ten mp3 speeches: the 99th percentile of the delay of a
        chunk; the promise is at most 20 ms more.  Engine, gateway and client are three processes.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
import tempfile
import time
from array import array
from itertools import pairwise
from pathlib import Path

import aiohttp
from aiohttp import web
from run import free_port, process, wait_for

from modgate_tts.engine import Hibari
from modgate_tts.join import Joiner
from modgate_tts.split import pieces

TEXT = (
    "Well, the morning was bright and cold, and nobody had slept for long. Dr. Smith walked to the "
    "window, looked at the harbour, and counted the ships: there were eleven of them. He had seen "
    "larger fleets before, of course, but never one that waited so quietly for a single word. "
) * 3
RATE, FADE = 24_000, 96
PIECE_S, CHUNK_S = 0.25, 0.02  # a scripted engine: to its first chunk, and between two
STREAMS, EVENTS, EVERY_S, SPEECHES, ROUNDS = 200, 150, 0.04, 10, 3
SECOND = array(
    "h", (round(8000 * math.sin(n * 0.05) * math.sin(n * 0.0007)) for n in range(RATE))
).tobytes()


async def speak(request: web.Request) -> web.StreamResponse:
    """Sound in chunks, at some twenty times the pace of speech."""
    text = (await request.json())["input"]
    await asyncio.sleep(PIECE_S)
    response = web.StreamResponse(headers={"content-type": "audio/pcm"})
    await response.prepare(request)
    for _ in range(max(1, len(text) // 8)):
        await response.write(SECOND[: RATE // 5 * 4])
        await asyncio.sleep(CHUNK_S)
    return response


async def chat(request: web.Request) -> web.StreamResponse:
    """Events that say when they left."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(EVENTS):
        await asyncio.sleep(EVERY_S)
        said = f'{{"id":"c","object":"chat.completion.chunk","created":1,"model":"engine-chat",\
"choices":[{{"index":0,"delta":{{"content":"{time.monotonic():.6f}"}},"finish_reason":null}}]}}'
        await response.write(b"data: " + said.encode() + b"\n\n")
    last = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"engine-chat",\
"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    await response.write(last)
    return response


def engine(port: int) -> None:
    """The scripted engine's own process."""
    app = web.Application()
    app.router.add_post("/v1/audio/speech", speak)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/health", lambda request: asyncio.sleep(0, web.Response()))
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


class Served:
    """A gateway with one client session."""

    def __init__(self, root: str, key: str, session: aiohttp.ClientSession) -> None:
        self.root, self.session = root, session
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def first_s(self, text: str, name: str, model: str = "voice") -> float:
        """To the first byte of audio; the rest is read."""
        body = {"model": model, "input": text, "voice": "heart", "response_format": name}
        began, first = time.perf_counter(), 0.0
        url = self.root + "/v1/audio/speech"
        async with self.session.post(url, json=body, headers=self.headers) as reply:
            assert reply.status == 200, await reply.text()
            async for _ in reply.content.iter_any():
                first = first or time.perf_counter() - began
        return first

    async def delays_s(self) -> list[float]:
        """Of each chunk of one chat, from the engine's clock to ours: one machine, one clock."""
        body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        found = []
        url = self.root + "/v1/chat/completions"
        async with self.session.post(url, json=body, headers=self.headers) as reply:
            async for line in reply.content:
                at = line.find(b'"content":"')
                if at > 0 and line[at + 11 : at + 12].isdigit():
                    found.append(time.monotonic() - float(line[at + 11 :].split(b'"')[0]))
        assert len(found) == EVENTS, f"void: {len(found)} of {EVENTS} chunks"
        return found


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] * 1000


async def beside(gateway: Served) -> None:
    """Alone and beside speeches, in turn."""
    alone: list[float] = []
    among: list[float] = []
    for _ in range(ROUNDS):
        for values, speeches in ((alone, 0), (among, SPEECHES)):
            speaking = [gateway.first_s(TEXT, "mp3") for _ in range(speeches)]
            streams = [gateway.delays_s() for _ in range(STREAMS)]
            replies = await asyncio.gather(*streams, *speaking)
            values += [p99([each for some in replies[:STREAMS] for each in some])]
    less, more = statistics.median(alone), statistics.median(among)
    print(
        f"beside: p99 of a chunk {less:.1f} ms alone, {more:.1f} ms beside {SPEECHES} mp3 speeches"
    )
    rounds = [round(b - a, 1) for a, b in zip(alone, among, strict=True)]
    print(f"  {more - less:+.1f} ms (at most 20); rounds {rounds}")


async def first(name: str, own: Served, gateway: Served, model: str) -> None:
    """The same first piece, asked of the engine itself and through the gateway."""
    opening = pieces(TEXT, 80, 250)[0]
    for form in ("pcm", "mp3", "opus"):
        mine, through = [], []
        for _ in range(7):
            mine.append(await own.first_s(opening, "pcm", model))
            through.append(await gateway.first_s(TEXT, form, model))
        told(f"{name}, {form}", mine, through)


def joints() -> None:
    """Pieces of the local model, joined, beside the single shot."""
    speaker = Hibari(Path(), 1)
    speaker.load(lambda text: None)
    text = TEXT[: len(TEXT) // 3 * 2]
    parts = pieces(text, 80, 250)
    sounds = [b"".join(speaker._pcm(part, 1.0)) for part in parts]
    joiner = Joiner(len(parts) - 1, 0)
    joined = b"".join(joiner.feed(n, each, RATE) for n, each in enumerate(sounds)) + joiner.end()
    whole = b"".join(speaker._pcm(text, 1.0))
    steps = [abs(b - a) for a, b in pairwise(array("h", joined))]
    at, worst = 0, 0
    for each in sounds[:-1]:
        at += len(each) // 2
        worst = max(worst, *steps[at - 2 * FADE : at + 2 * FADE])
    change = len(joined) / len(whole) - 1
    inside = sorted(steps)[int(len(steps) * 0.99)]
    print(f"joints: {len(parts)} pieces, {len(joined) / 48_000:.2f} s, ", end="")
    print(f"single shot {len(whole) / 48_000:.2f} s: {change:+.2%} (within 2 %)")
    print(f"  steepest step at a joint {worst}, inside: p99 {inside}, most {max(steps)}")


async def first_local() -> None:
    """The local model: in this process its first sound, and through a gateway with no file."""
    from clients.serving import serving

    speaker = Hibari(Path(), 1)
    speaker.load(lambda text: None)
    opening = pieces(TEXT, 80, 250)[0]
    with serving(Path(tempfile.mkdtemp())) as served:
        async with aiohttp.ClientSession() as session:
            gateway = Served(served.root, served.key, session)
            await gateway.first_s(TEXT, "mp3", "tts-1")
            for form in ("pcm", "mp3"):
                mine, through = [], []
                for _ in range(9):
                    began = time.perf_counter()
                    next(speaker._pcm(opening, 1.0))
                    mine.append(time.perf_counter() - began)
                    through.append(await gateway.first_s(TEXT, form, "tts-1"))
                told(f"local, {form}", mine, through)


def told(name: str, mine: list[float], through: list[float]) -> None:
    less, more = statistics.median(mine), statistics.median(through)
    print(f"first, {name}: engine {less * 1000:.1f} ms, gateway {more * 1000:.1f} ms: ", end="")
    print(f"{more / less:.2f} (at most 1.3)")


async def main(wanted: set[str]) -> None:
    if "joints" in wanted:
        joints()
    if "first" in wanted:
        await first_local()
    if not wanted & {"first", "beside"}:
        return
    from gateways import configuration  # the tests' own, on the path since `run` was imported

    folder, port, served = Path(tempfile.mkdtemp()), free_port(), free_port()
    backends = [{"url": f"http://127.0.0.1:{port}", "slots": 500}]
    limits = 'limits = { in_flight = 1000, requests = "100000/s" }'
    config, keys = configuration(folder, backends, plugins=("llm", "tts"), tenants={"acme": limits})
    text = config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{served}", 1)
    config.write_text(text + f'[state]\ndirectory = "{folder}/state"\n[log]\nlevel = "warning"\n')
    with (
        process(sys.executable, __file__, "--engine", str(port)),
        process("modgate", "serve", str(config)),
    ):
        wait_for(port)
        wait_for(served)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            gateway = Served(f"http://127.0.0.1:{served}", keys["acme"], session)
            own = Served(f"http://127.0.0.1:{port}", "", session)
            await gateway.first_s(TEXT[:200], "mp3")
            if "first" in wanted:
                await first("scripted", own, gateway, "voice")
            if "beside" in wanted:
                await beside(gateway)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--engine"]:
        engine(int(sys.argv[2]))
    else:
        asyncio.run(main(set(sys.argv[1:]) or {"first", "joints", "beside"}))
