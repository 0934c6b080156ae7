"""The scripted engine: a backend on loopback that does what a test wants and writes it all down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace

from oracle import asked
from oracle.connection import Connection
from oracle.faults import OK, Script
from oracle.framing import Head
from oracle.gates import Gates
from oracle.perform import Performance, course
from oracle.record import Record, Stage, of_request
from oracle.replies import reply_to

ScriptFor = Callable[[Record], Script]
VACANT_S = 5.0


class ScriptedEngine:
    """An engine for every modality, in the home wires; an async context manager.

    `script_for` is asked once per request, with its body parsed; what it raises is in `errors`, and
    `close` raises it again.  `most_records`: the oldest records beyond it are forgotten.
    """

    def __init__(self, script_for: ScriptFor | None = None, *, most_records: int = 50_000) -> None:
        self.script_for: ScriptFor = script_for or (lambda record: OK)
        self.connections_made = 0
        self.errors: list[BaseException] = []
        self.alive = False
        self._port = 0
        self._most_records = most_records
        self._records: dict[int, Record] = {}
        self._calls: dict[str, int] = {}
        self._next = 0
        self._gates = Gates()
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watchers: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> ScriptedEngine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- life

    async def start(self) -> None:
        """Listen on loopback: on a free port, and on the same one after a `kill`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), "127.0.0.1", self._port, backlog=1024
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self.alive = True

    restart = start

    def kill(self) -> None:
        """Die like a process: listen no more, reset every connection."""
        self.alive = False
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.killed()

    async def close(self) -> None:
        """Stop everything and wait for it; the records stay readable."""
        self.kill()
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # From Python 3.12 on gather does not wait for `_ended`: this would go on for ever.
            await asyncio.sleep(0)
        self._gates.clear()
        self.changed()
        if self.errors:
            raise self.errors[0]

    @property
    def port(self) -> int:
        """Where it listens, or listened."""
        return self._port

    @property
    def url(self) -> str:
        """What a `[[backend]]` names."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open now, idle ones too."""
        return len(self._connections)

    # --- what it saw

    @property
    def records(self) -> list[Record]:
        """Every request, in order of arrival; probes (`GET`) too."""
        return list(self._records.values())

    def of(self, key: str | int) -> list[Record]:
        """The calls of one request, by its id or its tag."""
        return of_request(self._records.values(), key)

    def forget(self) -> None:
        """Drop the records and start to count calls anew."""
        self._records.clear()
        self._calls.clear()

    async def reached(
        self, key: str | int, stage: Stage = "arrived", *, calls: int = 1, within_s: float = 5.0
    ) -> list[Record]:
        """Wait until so many calls of a request got so far; raise TimeoutError."""
        passed = _STAGES[stage]
        async with asyncio.timeout(within_s):
            while len(found := [record for record in self.of(key) if passed(record)]) < calls:
                await self._change()
        return found

    async def vacant(self) -> None:
        """Wait until every connection is gone; raise TimeoutError."""
        async with asyncio.timeout(VACANT_S):
            while self._connections:
                await self._change()

    async def _change(self) -> None:
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.add(watcher)
        try:
            await watcher
        finally:
            self._watchers.discard(watcher)

    def release(self, key: str | int, pieces: int = 1) -> None:
        """The client has the last piece: a gated request, by id or tag, may write more."""
        ids = [key] if isinstance(key, str) else [record.request_id for record in self.of(key)]
        for request_id in dict.fromkeys(ids):
            self._gates.release(request_id, pieces)

    # --- for its connections

    def changed(self) -> None:
        """Wake who waits in `reached` or `vacant`."""
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Own a task until it ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    def joined(self, connection: Connection) -> None:
        """A peer connected."""
        self.connections_made += 1
        self._connections.add(connection)
        if not self.alive:  # accepted as the last one before it died
            connection.killed()

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.changed()

    def open_record(self, head: Head) -> Record:
        """A request's record, as soon as its head is here."""
        method, path = (*head.start.split(" "), "")[:2]
        request_id = head.headers.get("x-request-id", "")
        record = Record(
            index=self._next,
            request_id=request_id,
            method=method,
            path=path.partition("?")[0],
            headers=head.headers,
            arrived_at=time.monotonic(),
            whole=False,
            call=self._calls.get(request_id, 0),
        )
        self._next += 1
        self._calls[request_id] = record.call + 1
        self._records[record.index] = record
        if len(self._records) > self._most_records:
            old = self._records.pop(next(iter(self._records)))
            self._calls.pop(old.request_id, None)
        return record

    async def answer(self, record: Record, connection: Connection) -> bool:
        """Write the reply that the script wants; True when the connection can be used again."""
        if record.method != "GET":  # a probe is no call, and takes nobody's script
            record.script = self.script_for(record)
        asked.claim(record)
        reply = reply_to(record, record.script)
        record.forget_body()
        if record.gated:
            self._gates.enter(record)
        self.changed()
        performance = Performance(record, connection, self._gates.wait, self.changed)
        try:
            return await performance.run(course(reply, record.script.fault))
        finally:
            record.ended_at = time.monotonic()
            self._gates.leave(record)
            self.changed()


_STAGES: dict[Stage, Callable[[Record], bool]] = {
    "arrived": lambda record: record.whole,
    "headers": lambda record: record.headers_at is not None,
    "piece": lambda record: bool(record.written_at),
    "ended": lambda record: record.ended_at is not None,
}


def always(script: Script) -> ScriptedEngine:
    """An engine that does the same with every call."""
    return ScriptedEngine(lambda record: script)


def echoing(script: Script) -> ScriptedEngine:
    """As `always`, and it sends the request's id back: a gateway's stand-in."""
    return ScriptedEngine(
        lambda record: replace(script, headers=(("x-request-id", record.request_id),))
    )
