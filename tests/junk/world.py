"""The gateways, the engine and the redirecting server that bad input is tried on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gateways import Running, configuration
from oracle.client import ClientRecord, send
from oracle.compare import compare
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Script
from oracle.record import Record
from oracle.requests import ClientRequest
from rigs.ledger import compared

from junk.case import Case, Gate
from junk.engines import engine_cases, seen
from junk.files import file_cases
from junk.plain import CAP_BYTES, pages, plain_cases, sound
from junk.wire import send_oddly
from modgate.ledger.reader import rows
from modgate.server.app import App

CASES = (*plain_cases(), *file_cases(), *engine_cases())
# One of each sort, for what is done many times.
SORTS = tuple({case.sort: case for case in reversed(CASES)}.values())[::-1]
BAD_KEY = "mg_test_0000000000000000_0000000000000000000000000000000000000000000"
# What sockets on the way may hold of a reply that nobody reads.
UNREAD = {"llm.output_tokens": 1 << 40, "tts.speech_ms": 1 << 40}
WARM_ROUNDS, CROWD = 10, 8
MORE = """
[decoders]
processes = 2
streams = 2
[timeouts]
idle = "600ms"
client_stalled = "400ms"
body_idle = "300ms"
{deadlines}
[explain]
requests = 200
[fetch]
allow = [{allow}]
"""
DEADLINE = '[timeouts.{name}]\nfirst_byte = {{ base = "{time}" }}\ntotal = {{ base = "{time}" }}'
# Where a reply may be long: later than a client that does not read is to be dropped, or that gets
# an error that it need not read.
TIMES = {
    "llm": "8s", "vlm": "8s", "asr": "8s", "tts": "8s", "ocr": "8s", "embedding": "1s",
    "rerank": "1s",
}  # fmt: skip  # rows as they are read
Played = tuple[Case, ClientRecord]


class World:
    """An async context manager.  `gates`: a gateway for each `[fetch] allow`."""

    def __init__(self, folder: Path, gates: Sequence[Gate] = ("shut", "public", "named")) -> None:
        self._folder = folder
        self._wanted = gates
        self._scripts: dict[int, Script] = {}
        self.engine = ScriptedEngine(self._script_for)
        self.gateways: dict[Gate, Running] = {}
        self._redirects: asyncio.Server | None = None

    def _script_for(self, record: Record) -> Script:
        return self._scripts.get(record.tag, OK) if record.tag is not None else OK

    async def __aenter__(self) -> World:
        await self.engine.start()
        self._redirects = await asyncio.start_server(_redirect, "127.0.0.1", 0)
        try:
            for gate in self._wanted:
                self.gateways[gate] = await self._gateway(gate)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop everything."""
        for running in self.gateways.values():
            await running.app.close()
        if self._redirects is not None:
            self._redirects.close()
            await self._redirects.wait_closed()
        await self.engine.close()

    @property
    def redirects(self) -> str:
        """Where the redirecting server listens."""
        assert self._redirects is not None
        host, port = self._redirects.sockets[0].getsockname()
        return f"{host}:{port}"

    async def _gateway(self, gate: Gate) -> Running:
        allow = {"shut": "", "public": '"*"', "named": f'"*", "http://{self.redirects}"'}[gate]
        deadlines = [DEADLINE.format(name=name, time=time) for name, time in TIMES.items()]
        folder = self._folder / gate
        folder.mkdir()
        path, keys = configuration(
            folder,
            [{"url": self.engine.url, "slots": 64}],
            more=MORE.format(allow=allow, deadlines="\n".join(deadlines)),
        )
        text = path.read_text()
        for name, key in (("llm", "body_bytes"), ("vlm", "body_bytes"), ("asr", "file_bytes")):
            size = CAP_BYTES * 2 if name == "asr" else CAP_BYTES
            text = text.replace(f"[plugin.{name}]", f"[plugin.{name}]\n{key} = {size}")
        path.write_text(text)
        app = App(path, directory=folder / "state")
        await app.open()
        return Running(app, keys, path)

    async def warm(self) -> None:
        """Start every decoder, and whatever else starts with its first use."""
        for running in self.gateways.values():
            for make in (seen, sound, pages):
                for _ in range(WARM_ROUNDS):
                    asked = [send(running.url, make(0), key=running.key) for _ in range(CROWD)]
                    if all(said.ended == "ok" for said in await asyncio.gather(*asked)):
                        break
                else:
                    raise TimeoutError(f"a gateway does not answer {make.__doc__}")
        self.engine.forget()

    async def play(self, case: Case, tag: int = 0) -> ClientRecord:
        """Send one bad input."""
        running = self.gateways[case.gate]
        self._scripts[tag] = case.script or OK
        request = case.request(tag)
        if b"{redirects}" in request.body:
            body = request.body.replace(b"{redirects}", self.redirects.encode())
            request = replace(request, body=body)
        if case.how != "whole":
            return await send_oddly(running.url, request, case.how, key=running.key)
        key, request = _as(case, request, running.key)
        return await send(running.url, request, key=key)

    async def play_all(self, cases: Sequence[Case], together: int = 12) -> list[Played]:
        """Send them, some at a time, each with a tag of its own: its place in `cases`."""
        played: list[Played] = []
        for alone in (False, True):
            places = asyncio.Semaphore(1 if alone else together)

            async def one(tag: int, case: Case, places: asyncio.Semaphore = places) -> Played:
                async with places:
                    return case, await self.play(case, tag)

            mine = [(tag, case) for tag, case in enumerate(cases) if case.alone == alone]
            played += await asyncio.gather(*(one(tag, case) for tag, case in mine))
        return played

    def bill(self, played: Sequence[Played]) -> list[str]:
        """Where the ledgers hold what the engine did not write; tags must be each other's."""
        records = self.engine.records
        frames = compared(row for each in self.gateways.values() for row in rows(each.ledger))
        wrong = []
        for mute in (False, True):
            clients = [client for case, client in played if (case.how == "mute") == mute]
            tags = {client.tag for client in clients} if mute or not clients else set()
            ids = {record.request_id for record in records if tags.intersection(record.tags)}
            ids |= {client.request_id or "" for client in clients}
            mine = [row for row in frames if row["request_id"] in ids]
            slack = UNREAD if mute else {}
            wrong += compare(records, clients, mine, bill="wrote", slack=slack)
        for case, client in played:
            if (
                case.script is None
                and not case.accepted
                and self.engine.of(client.request_id or "")
            ):
                wrong.append(f"{case.name}: the engine was asked")
        return wrong


def _as(case: Case, request: ClientRequest, key: str) -> tuple[str | None, ClientRequest]:
    match case.key:
        case "good":
            return key, request
        case "none":
            return None, request
        case "bad":
            return BAD_KEY, request
        case "two":
            return key, request.with_headers(x_api_key=BAD_KEY)


async def _redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send whoever asks to where the query says."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        place = head.split(" ", 2)[1].partition("?")[2]
        reply = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
        writer.write(reply.encode("latin-1"))
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
