"""Steady traffic of all modalities, open loop: requests begin when they are due, whatever became of
those before; and what came of each, against a target.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from oracle import requests as ask
from oracle.client import ClientRecord, send
from oracle.requests import ClientRequest
from oracle.words import Modality

from rigs.live_fleet import LLAMA, NAMES

WITHIN_S = 30.0
LLAMA_TOKENS = 4
MADE = 32  # different requests of a sort
P = 0.95
LOOK_S = 0.02
EVENTS_LEAST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """A sort of requests.

    `unary`: one question, one answer: it may be asked again elsewhere for as long as nothing was
    relayed, so it must never fail.  `whole`: nothing is relayed before its end.  `streamed`: judged
    by its first byte and the gaps behind it, else by its end.
    """

    name: str
    model: str
    modality: Modality
    unary: bool
    whole: bool
    streamed: bool
    per_s: float
    make: Callable[[int], ClientRequest] = field(repr=False)


def _sort(
    modality: Modality,
    kind: str,
    per_s: float,
    make: Callable[[int, str], ClientRequest],
    *,
    model: str = "",
) -> Sort:
    model = model or NAMES[modality]
    return Sort(
        name=f"{model} {kind}",
        model=model,
        modality=modality,
        unary=kind == "whole",
        whole=kind == "whole" and modality != "tts",
        streamed=kind == "stream",
        per_s=per_s,
        make=lambda tag: make(tag, model),
    )


def sorts(per_s: float, *, llama_per_s: float = 0.0) -> list[Sort]:
    """All sorts: `per_s` requests a second of each modality, so many of llama.cpp."""
    half = per_s / 2
    found = [
        _sort("llm", "whole", half, lambda t, m: ask.chat(t, model=m)),
        _sort("llm", "stream", half, lambda t, m: ask.chat(t, model=m, stream=True)),
        _sort("vlm", "whole", half, lambda t, m: ask.vision(t, model=m)),
        _sort("vlm", "stream", half, lambda t, m: ask.vision(t, model=m, stream=True)),
        _sort("asr", "whole", half, lambda t, m: ask.transcription(t, model=m)),
        _sort("asr", "stream", half, lambda t, m: ask.transcription(t, model=m, stream=True)),
        _sort("tts", "whole", half, lambda t, m: ask.speech(t, model=m, response_format="wav")),
        _sort("tts", "stream", half, lambda t, m: ask.speech(t, model=m, sse=True)),
        _sort("ocr", "whole", per_s, lambda t, m: ask.ocr(t, model=m)),
        _sort("embedding", "whole", per_s, lambda t, m: ask.embeddings(t, model=m)),
        _sort("rerank", "whole", per_s, lambda t, m: ask.rerank(t, model=m)),
    ]
    if llama_per_s:
        half = llama_per_s / 2
        for kind in ("whole", "stream"):
            stream = kind == "stream"

            def chat(tag: int, model: str, stream: bool = stream) -> ClientRequest:
                return ask.chat(tag, model=model, stream=stream, max_tokens=LLAMA_TOKENS)

            found.append(_sort("llm", kind, half, chat, model=LLAMA))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Seconds, of one model; 0 = there is no such phase."""

    first_byte_s: float
    between_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What came of one request."""

    sort: Sort
    record: ClientRecord

    @property
    def ok(self) -> bool:
        """A whole good reply."""
        return self.record.ended == "ok"

    @property
    def total_s(self) -> float:
        """From its beginning to its end."""
        return self.record.ended_at - self.record.began_at

    @property
    def first_s(self) -> float:
        """Until the first byte of the reply's body."""
        record = self.record
        return (record.first_byte_at or record.ended_at) - record.began_at

    @property
    def between_s(self) -> float:
        """The mean gap behind the first byte, where there are enough to speak of."""
        events = self.record.events
        return (self.total_s - self.first_s) / events if events >= EVENTS_LEAST else 0.0

    def kept(self, targets: Targets) -> bool:
        """Whether it ended well and in time."""
        if not self.ok:
            return False
        if not self.sort.streamed:
            return self.total_s <= targets.total_s
        return self.first_s <= targets.first_byte_s and self.between_s <= targets.between_s


def quantile(values: Iterable[float]) -> float:
    """The least value that `P` of them are at most; 0 of none."""
    ranked = sorted(values)
    return ranked[max(0, ceil(P * len(ranked)) - 1)] if ranked else 0.0


def targets_of(calls: Sequence[Call], times: float) -> dict[str, Targets]:
    """So many times the 95th percentile of each phase, by model; AssertionError if one failed."""
    bad = [f"{call.sort.name}: {call.record.error}" for call in calls if not call.ok]
    assert not bad, bad
    by_model: dict[str, list[Call]] = {}
    for call in calls:
        by_model.setdefault(call.sort.model, []).append(call)
    found: dict[str, Targets] = {}
    for model, own in by_model.items():
        streams = [call for call in own if call.sort.streamed]
        wholes = [call for call in own if not call.sort.streamed]
        found[model] = Targets(
            first_byte_s=times * quantile(call.first_s for call in streams),
            between_s=times * quantile(call.between_s for call in streams),
            total_s=times * quantile(call.total_s for call in wholes),
        )
    return found


class Traffic:
    """Clients that begin requests at a steady pace; an async context manager.

    `keys`: by model, '' for all others.  `calls`: those that are over, in the order of their ends.
    `lags`: when this process was looked at, each `LOOK_S`, and by how many seconds it was late: a
    machine that does more than this keeps no promise.
    """

    def __init__(
        self, url: str, keys: Mapping[str, str], sorts: Sequence[Sort], *, seed: int
    ) -> None:
        self.calls: list[Call] = []
        self.lags: list[tuple[float, float]] = []
        self._url = url
        self._keys = keys
        self._sorts = sorts
        self._rng = random.Random(seed)
        self._made = {sort.name: [sort.make(tag) for tag in range(MADE)] for sort in sorts}
        self._pacers: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Traffic:
        loop = asyncio.get_running_loop()
        self._pacers = [loop.create_task(self._pace(sort)) for sort in self._sorts]
        self._pacers.append(loop.create_task(self._look()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Begin no more, and wait for those that run."""
        for pacer in self._pacers:
            pacer.cancel()
        await asyncio.gather(*self._pacers, return_exceptions=True)
        self._pacers.clear()
        while self._running:
            await asyncio.wait(self._running)

    async def _pace(self, sort: Sort) -> None:
        """Evenly, but not in step with other sorts, so that little runs at once."""
        loop = asyncio.get_running_loop()
        every_s = 1 / sort.per_s
        due = loop.time() + self._rng.random() * every_s
        number = 0
        while True:
            await asyncio.sleep(due - loop.time())
            task = loop.create_task(self._one(sort, self._made[sort.name][number % MADE]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            number += 1
            due += every_s * (0.5 + self._rng.random())

    async def _one(self, sort: Sort, request: ClientRequest) -> None:
        key = self._keys.get(sort.model, self._keys[""])
        record = await send(self._url, request, key=key, within_s=WITHIN_S)
        self.calls.append(Call(sort=sort, record=record))

    async def _look(self) -> None:
        while True:
            due = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.lags.append((due, time.monotonic() - due))

    def lag_s(self, since: float, until: float) -> float:
        """The 95th percentile of how late this process was."""
        return quantile(late for at, late in self.lags if since <= at < until)

    async def settled(self) -> None:
        """Until all that run now are over; others begin meanwhile."""
        if self._running:
            await asyncio.wait(set(self._running))

    def between(self, since: float, until: float) -> list[Call]:
        """Calls that began then and are over."""
        return [call for call in self.calls if since <= call.record.began_at < until]
