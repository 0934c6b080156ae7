"""Gateway processes that share limits, a load at an even pace, and what they admitted of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import redis
from clients.serving import Served, serving
from gateways import configuration
from servers import Server

from modgate.ledger.reader import rows
from modgate.ledger.records import Ended

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Processes with the same tenants.  `keys`: of each process, by tenant."""

    folders: Sequence[Path]
    served: Sequence[Served]
    keys: Sequence[Mapping[str, str]]

    def logged(self, at: int, since: float = 0.0, until: float = inf) -> list[str]:
        """What a process has logged of the store of its limits, between two times of day."""
        lines = self.served[at].output.read_text().splitlines()
        events = [msgspec.json.decode(line) for line in lines if line.startswith("{")]
        return [
            each["event"]
            for each in events
            if "limit store" in each["event"]
            and since <= datetime.fromisoformat(each["time"]).timestamp() < until
        ]

    def admitted(self) -> dict[str, list[Ended]]:
        """Every request that an engine saw, by tenant, in the order of their beginnings."""
        found: dict[str, list[Ended]] = {}
        for folder in self.folders:
            for row in rows(folder / "state" / "ledger"):
                if not row.attempts:  # refused when its plan was known
                    continue
                found.setdefault(row.tenant, []).append(row)
        return {name: sorted(each, key=lambda row: row.wall) for name, each in found.items()}


@contextmanager
def sharing(
    folder: Path, engine_url: str, store: str, tenants: Mapping[str, str], count: int = 3
) -> Iterator[Sharing]:
    """So many `modgate serve`; `store` is what `[limits.store]` says besides `replicas`."""
    more = f"[limits.store]\n{store}\nreplicas = {count}"
    folders, keys, served = [], [], []
    with ExitStack() as stack:
        for number in range(count):
            own = folder / f"gateway{number}"
            own.mkdir()
            path, made = configuration(
                own, [{"url": engine_url}], tenants=tenants, plugins=("llm", "asr"), more=more
            )
            folders.append(own)
            keys.append(made)
            served.append(stack.enter_context(serving(own, path, key=made[next(iter(made))])))
        yield Sharing(folders=folders, served=served, keys=keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Requests of one tenant at an even pace, in turn to each of the gateways."""

    tenant: str
    per_s: float
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request.  `at` and `took_s`: monotonic seconds."""

    tenant: str
    gateway: int
    at: float
    took_s: float
    status: int
    head: bytes = field(repr=False)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """Open loop: a request goes out when it is due, whoever is still being answered."""

    def __init__(self, over: Sharing) -> None:
        self._over = over
        self._idle: list[list[Streams]] = [[] for _ in over.served]
        self._opened: list[asyncio.StreamWriter] = []
        self._asking: set[asyncio.Task[None]] = set()
        self.answers: list[Answer] = []

    async def offer(self, offers: Sequence[Offer], seconds: float) -> None:
        """All of the offers side by side, for so long, and until the last is answered."""
        async with asyncio.TaskGroup() as group:
            for offer in offers:
                group.create_task(self._pace(offer, seconds))
        while self._asking:
            await asyncio.wait(self._asking)

    async def _pace(self, offer: Offer, seconds: float) -> None:
        began, gateways = time.monotonic(), len(self._over.served)
        for number in range(int(offer.per_s * seconds)):
            await asyncio.sleep(began + number / offer.per_s - time.monotonic())
            task = asyncio.create_task(self._noted(offer, number % gateways))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _noted(self, offer: Offer, gateway: int) -> None:
        self.answers.append(await self.ask(offer.tenant, gateway, offer.body))

    async def ask(self, tenant: str, gateway: int, body: bytes) -> Answer:
        """One request; what a connection says that breaks off is an error."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            head = await self._said(tenant, gateway, body)
        return Answer(
            tenant=tenant,
            gateway=gateway,
            at=began,
            took_s=time.monotonic() - began,
            status=int(head[9:12]),
            head=head,
        )

    async def _said(self, tenant: str, gateway: int, body: bytes) -> bytes:
        idle, place = self._idle[gateway], urlsplit(self._over.served[gateway].root)
        if not idle:
            idle.append(await asyncio.open_connection(place.hostname, place.port, limit=1 << 20))
            self._opened.append(idle[-1][1])
        reader, writer = idle.pop()
        key = self._over.keys[gateway][tenant]
        front = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(front.encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        at = lower.index(b"content-length:") + 15
        await reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
        idle.append((reader, writer))
        return head

    def close(self) -> None:
        """Close the connections."""
        for writer in self._opened:
            writer.close()


def most_beyond(rows: Sequence[tuple[float, int]], rate: float, window_s: float) -> float:
    """The most that was admitted in any window of this length, less what its rate gives there."""
    most = total = start = 0
    for at, count in rows:
        total += count
        while rows[start][0] <= at - window_s:
            total -= rows[start][1]
            start += 1
        most = max(most, total)
    return most - rate * window_s


def apart(came: Iterable[tuple[int, float]], rate: float) -> list[float]:
    """What gateways would admit that have an equal part of the rate each, and a second's burst.

    `came`: gateway and time of each request.
    """
    by_gateway: dict[int, list[float]] = {}
    for gateway, at in came:
        by_gateway.setdefault(gateway, []).append(at)
    part, admitted = rate / len(by_gateway), []
    for times in by_gateway.values():
        room, before = part, min(times)
        for at in sorted(times):
            room, before = min(part, room + (at - before) * part), at
            if room >= 1:
                room -= 1
                admitted.append(at)
    return sorted(admitted)


def trips(store: Server) -> int:
    """How many calls of the script a Redis has served."""
    path = urlsplit(store.url).path
    with redis.Redis(unix_socket_path=path) as client:
        said = client.info("commandstats")
    calls: int = said.get("cmdstat_evalsha", {"calls": 0})["calls"]
    return calls
