"""Engines, and servers of files, that know where they stand and what they may be given.

Whatever a client of these tests says has a mark: the regions where it may be read.  Who receives it
judges it by that; nothing of the gateway's own rules is asked.
"""

from __future__ import annotations

import os
import random
import re
from asyncio import sleep
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import orjson
from toys.errands import TELL

from modgate.api.body import Body, File
from modgate.api.need import Fetch
from modgate.errors import BadReply, Refused, Unreached, UpstreamFailed, UpstreamTimedOut
from modgate.spool import Scope
from modgate.upstream.answer import OnBytes, OnEnd
from modgate.upstream.request import framed

MARK = re.compile(rb"<([a-z.]*)>")
ANYWHERE, NOWHERE = "any", "nowhere"

Fate = Literal[
    "good",
    "unreached",
    "lost",
    "late",
    "broken",
    "junk",
    "gone",
    "loading",
    "full",
    "busy",
    "refused",
    "missing",
]
FATES: tuple[Fate, ...] = get_args(Fate)
STATUS = {"broken": 500, "gone": 502, "loading": 503, "full": 429, "busy": 429}
REFUSALS = {"refused": 400, "missing": 404}
HEADERS: Mapping[str, Mapping[str, str]] = {"full": {"retry-after": "5"}}


def mark(regions: frozenset[str] | None) -> str:
    """What stands in everything that a caller with these regions says."""
    return f"<{ANYWHERE if regions is None else '.'.join(sorted(regions)) or NOWHERE}>"


@dataclass(slots=True, eq=False)
class Frontier:
    """What all who receive something have found.

    `outside`: the region and the mark of each that was where it may not be.
    """

    read: Counter[str] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)

    def judge(self, region: str, said: bytes) -> None:
        """Something was received in this region."""
        marks = set(MARK.findall(said))
        self.read[region] += 1
        if not marks:
            self.outside.append(f"{region}: nothing says where it may be")
        for each in marks:
            text = each.decode()
            if text != ANYWHERE and region not in text.split("."):
                self.outside.append(f"{region or 'a place that is not said'}: <{text}>")


class Said:
    """An engine's reply as its reader has it; `breaks`: it ends before its end."""

    def __init__(
        self, status: int, body: bytes, headers: Mapping[str, str], *, breaks: bool = False
    ) -> None:
        self.status = status
        self.headers = headers
        self._pieces = [body[: len(body) // 2], body[len(body) // 2 :]] if body else []
        self._breaks = breaks

    async def read(self) -> bytes:
        await sleep(0)
        if self._breaks and len(self._pieces) < 2:
            raise UpstreamFailed("it broke off")
        return self._pieces.pop(0) if self._pieces else b""

    async def whole(self, at_most: int) -> bytes:
        body = b""
        while data := await self.read():
            body += data
        if len(body) > at_most:
            raise BadReply("too long")
        return body

    def deliver(self, on_bytes: OnBytes, on_end: OnEnd) -> None:
        on_bytes(b"".join(self._pieces))
        self._pieces.clear()
        on_end(UpstreamFailed("it broke off") if self._breaks else None)

    def keep(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def release(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class Engine:
    """One engine, which stands in a region; what it does with a call is drawn.

    `good`: the share of calls that go well, `slow`: the most turns of the loop that one takes.
    """

    region: str
    frontier: Frontier
    dice: random.Random
    good: float = 1.0
    slow: int = 3

    async def send(
        self, path: str, body: Body, headers: Mapping[str, str], *, connect_s: float
    ) -> Said:
        """As `upstream.client.Client` does."""
        del headers
        dice = self.dice
        fate: Fate = "good" if dice.random() < self.good else dice.choice(FATES)
        if fate == "unreached":
            raise Unreached("nobody listens")
        content = framed(body)[2]
        said = content if isinstance(content, bytes) else b"".join(content)
        self.frontier.judge(self.region, said)
        for _ in range(dice.randint(0, self.slow)):
            await sleep(0)
        if fate == "lost":
            raise UpstreamFailed("lost")
        if fate == "late":
            raise UpstreamTimedOut("late")
        if fate in STATUS or fate in REFUSALS:
            status = STATUS.get(fate) or REFUSALS[fate]
            return Said(status, b'{"error":{"message":"drawn"}}', HEADERS.get(fate, {}))
        if fate == "junk":
            return Said(200, b"?", {})
        return Said(200, _reply(path, said), {}, breaks=dice.random() > self.good)

    @property
    def connections(self) -> tuple[int, int]:
        return 0, 0

    async def close(self) -> None: ...


def _reply(path: str, said: bytes) -> bytes:
    if path == TELL:
        return b'data: {"text":"once"}\n\ndata: {"text":"upon","tokens":2}\n\ndata: [DONE]\n\n'
    if path != "/v1/embeddings":
        return b'{"text":"done","tokens":1}'
    texts = orjson.loads(said)["input"]
    texts = [texts] if isinstance(texts, str) else texts
    rows = [{"index": at, "embedding": [0.5]} for at in range(len(texts))]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return orjson.dumps({"object": "list", "data": rows, "model": "e", "usage": usage})


@dataclass(slots=True, eq=False)
class Files:
    """A server of files, as `upstream.fetch.Fetcher` reaches it; its region is set by the test."""

    frontier: Frontier
    dice: random.Random
    region: str = ""

    async def fetch(self, need: Fetch, scope: Scope) -> File:
        self.frontier.judge(self.region, need.url.encode())
        await sleep(0)
        if self.dice.random() < 0.2:
            raise Refused(need.field, "failed_to_download_file", "it was not there")
        return scope.adopt(os.memfd_create("file"))

    def close(self) -> None: ...
