"""Embedding calls of many requests before scripted engines: dispatch, trips and batches as they
are, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from modgate.api.auth import Caller, Policy
from modgate.api.body import Body
from modgate.api.dialect import Dialect
from modgate.api.model import Model
from modgate.api.select import Backend
from modgate.batch import Batcher
from modgate.dispatch import Dispatch
from modgate.draft import Draft
from modgate.errors import UpstreamFailed
from modgate.fleet.claim import QueueRules
from modgate.fleet.fleet import Fleet
from modgate.fleet.state import FleetState
from modgate.foresight import Foresight
from modgate.goals import Goals
from modgate.leasing import Leasing
from modgate.observe.tracing import Trace
from modgate.order import Order
from modgate.retrying import Retrying
from modgate.sender import Sender
from modgate.timeouts import Timeouts
from modgate.trip import Trip
from modgate.units import Units
from modgate_embedding.batching import PATH, EmbeddingCall, batching
from modgate_embedding.config import Config
from modgate_embedding.dialects import EmbeddingHome
from modgate_embedding.modality import Embedding

MODEL = "m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What an engine does with a call: after so many seconds a status, or a lost connection.

    `short`: its reply lacks the last text's vector.
    """

    seconds: float = 0.01
    status: int = 200
    lost: bool = False
    short: bool = False


def vector(text: str) -> list[float]:
    """The engine's vector of a text: no two texts of a test have the same."""
    return [float(byte) for byte in text.encode()]


def tokens(text: str) -> int:
    """The engine's count: not the gateway's estimate."""
    return len(text) + 2


class _Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._body = body

    async def whole(self, at_most: int) -> bytes:
        assert len(self._body) <= at_most
        return self._body

    def release(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class Engine:
    """`answer(texts)`: its script.  `slots`: calls that it works on at once, others wait in it.

    `calls`: the texts of each; `read`: tokens of its good replies; `at_once`: the most in flight.
    """

    answer: Callable[[Sequence[str]], Answered]
    slots: int = 2
    by_input: bool = False
    calls: list[list[str]] = field(default_factory=list)
    read: int = 0
    flying: int = 0
    at_once: int = 0
    _gate: asyncio.Semaphore | None = None

    async def send(
        self, path: str, body: Body, headers: Mapping[str, str], *, connect_s: float
    ) -> _Answer:
        """As `upstream.client.Client` does."""
        del headers
        assert path == PATH
        content = body.content
        assert isinstance(content, bytes)
        texts = orjson.loads(content)["input"]
        self.calls.append(texts)
        said = self.answer(texts)
        if self._gate is None:
            self._gate = asyncio.Semaphore(self.slots)
        self.flying += 1
        self.at_once = max(self.at_once, self.flying)
        try:
            async with self._gate:
                await asyncio.sleep(said.seconds)
        finally:
            self.flying -= 1
        if said.lost:
            raise UpstreamFailed("lost")
        if said.status != 200:
            return _Answer(said.status, b'{"error":{"message":"scripted"}}')
        counts = [tokens(text) for text in texts]
        self.read += sum(counts)
        usage = {"prompt_tokens": sum(counts)} | ({"by_input": counts} if self.by_input else {})
        rows = [{"index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
        given = rows[: len(rows) - said.short]
        return _Answer(200, orjson.dumps({"data": given[::-1], "usage": usage}))


class Traffic:
    """Requests of one call each, before one or several engines of one model.

    `served`: what all of these call it; none: each calls it as itself.
    """

    def __init__(
        self,
        *engines: Engine,
        slots: int = 2,
        config: Config | None = None,
        dialect: type[Dialect] = EmbeddingHome,
        waiting_at_most: int = 100_000,
        served: str = "",
    ) -> None:
        self.modality = Embedding(config or Config())
        self.batch = batching(config or Config())
        self._model = Model(name=MODEL, modality="embedding")
        names = [f"b{number}" for number in range(len(engines))]
        backends = [
            Backend(
                name=name,
                family="home",
                url=f"http://{name}",
                serves={MODEL: served or name},
                slots=slots,
            )
            for name in names
        ]
        self._clients: Any = dict(zip(names, engines, strict=True))  # as dispatch looks at them
        self._dialect = dialect
        self.state = FleetState()
        rules = QueueRules(calls=waiting_at_most, share=1.0)
        self.over(Fleet(backends, self.state, groups={}, rules=rules))
        self._made = 0

    def over(self, fleet: Fleet) -> None:
        """Send what is asked from now on to this fleet."""
        self.fleet = fleet
        timeouts = Timeouts(deadlines={"embedding": Embedding.deadlines})
        foresight = Foresight(fleet=fleet, goals=Goals({}, {}, {}), timeouts=timeouts)
        self.leasing = Leasing(fleet, foresight)
        self.retrying = Retrying(fleet, foresight)
        self.dispatch = Dispatch(
            fleet=fleet,
            leasing=self.leasing,
            foresight=foresight,
            dialects={("embedding", "home"): self._dialect},
            sender=Sender(
                client_of=lambda backend: self._clients[backend.name],
                prepare=_prepared,
                opened=lambda draft: None,
            ),
            timeouts=timeouts,
        )
        self.batcher = Batcher(self.dispatch, self.leasing, self.retrying)

    def trip(
        self, *texts: str, tenant: str = "acme", regions: frozenset[str] | None = None
    ) -> Trip:
        """A request's one call, which has not begun."""
        self._made += 1
        loop = asyncio.get_running_loop()
        draft = Draft(
            request_id=f"req_{self._made}",
            trace=Trace.of({}),
            now=loop.time,
            began=loop.time(),
            wall=0.0,
            caller=Caller(tenant=tenant, key_id="k", policy=Policy(regions=regions)),
        )
        call = EmbeddingCall(
            path=PATH,
            body=Body.of(input=texts),
            size=Units(inputs=len(texts), input_tokens=sum(-(-len(t) // 3) for t in texts)),
            at_most=256,
            ids=False,
        )
        order = Order(
            index=0,
            call=call,
            model=self._model,
            modality=self.modality,
            draft=draft,
            asked=MODEL,
            batch=self.batch,
        )
        return Trip(order, self.batcher.open, self.retrying)

    async def ask(self, *texts: str, tenant: str = "acme") -> tuple[list[list[float]], int]:
        """A request to its end: its vectors, and the tokens that it is told."""
        trip = self.trip(*texts, tenant=tenant)
        try:
            [event] = await trip.next()
            assert await trip.next() == []
        finally:
            trip.close()
        reply = event.json()
        rows = {row["index"]: row["embedding"] for row in reply["data"]}
        assert len(rows) == len(reply["data"])
        return [rows[at] for at in range(len(texts))], reply["usage"]["prompt_tokens"]

    def idle(self) -> bool:
        """Nothing waits, nothing flies, no trip is left."""
        taken = sum(slots.taken for slots in self.state.slots.values())
        work = sum(standing.work for standing in self.state.standings.values())
        return not (taken or work or self.state.queued or self.batcher._trips)


async def _prepared(name: str) -> None:
    del name
