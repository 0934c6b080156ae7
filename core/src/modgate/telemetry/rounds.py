"""Asking every engine how it is, again and again, each at its own pace."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from modgate import tasks
from modgate.api.secret import Secret
from modgate.api.vitals import Load, Signals
from modgate.clock import Clock
from modgate.telemetry.board import Board, Reading
from modgate.telemetry.exposition import BadText
from modgate.telemetry.families import Family
from modgate.telemetry.signals import Rules
from modgate.tracebacks import plain

log = logging.getLogger(__name__)

JITTER = 0.2
SCRAPE_WITHIN_S = 1.0
PROBE_WITHIN_S = 3.0
AT_ONCE = 64
BACKOFF_AT_MOST = 30  # times the interval, for what never answers
OFTENER = 4  # a busy engine is asked for its load, whose little room changes fast
NOTHING = (Load(), Signals())  # on a page that has nothing of what is wanted
_Of = tuple[str, type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Asking whether an engine is well."""

    def well(self, status: int) -> bool | None:
        """What a status says; a path that it does not have, or may not be asked, says nothing."""
        if 200 <= status < 300:
            return True
        return False if status >= 500 or status == 429 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of one engine, and how the answer is read; two that are equal are one.

    `ca`: the PEM file by which its certificate is judged; '' = the system's authorities.
    """

    identity: str
    name: str
    url: str
    read: Family | Rules | Probe
    every_s: float
    key: Secret | None = None
    ca: str = ""

    @property
    def of(self) -> _Of:
        """An engine is asked one question of each kind."""
        return self.identity, type(self.read)


class Asks(Protocol):
    """What asks over the network."""

    async def get(
        self, url: str, *, key: Secret | None, ca: str, within_s: float
    ) -> tuple[int, bytes]:
        """A status and at most 1 MiB; OSError when there is no answer."""
        ...


class Rounds:
    """The questions that are being asked; a task each.

    `busy(identity)`: an engine has little room left.
    """

    def __init__(
        self,
        asks: Asks,
        board: Board,
        clock: Clock,
        rng: Callable[[], float] = random.random,
        busy: Callable[[str], bool] = lambda identity: False,
    ) -> None:
        self._asks = asks
        self._board = board
        self._clock = clock
        self._rng = rng
        self._busy = busy
        self._tasks: dict[_Of, tuple[Question, asyncio.Task[None]]] = {}
        self._unheard: dict[_Of, Question] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    @property
    def unheard(self) -> Mapping[str, Sequence[str]]:
        """By engine, what it was asked for last and did not tell: `health`, `load`, `signals`."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for question in list(self._unheard.values()):
            found[question.name].append(_kind(question))
        return {name: sorted(kinds) for name, kinds in sorted(found.items())}

    def use(self, questions: Sequence[Question]) -> None:
        """Ask these from now on."""
        wanted = {question.of: question for question in questions}
        for of, (asked, task) in list(self._tasks.items()):
            if wanted.get(of) != asked:
                task.cancel()
                del self._tasks[of]
                self._unheard.pop(of, None)
        for of, question in wanted.items():
            if of not in self._tasks:
                task = asyncio.get_running_loop().create_task(self._ask(question))
                self._tasks[of] = question, task
        self._board.keep(identity for identity, _ in wanted)

    async def _ask(self, question: Question) -> None:
        before: Reading | None = True
        silent = 0
        while True:
            wait_s = question.every_s * min(BACKOFF_AT_MOST, 2 ** max(0, silent - 2))
            if isinstance(question.read, Family) and not silent and self._busy(question.identity):
                wait_s /= OFTENER
            await asyncio.sleep(wait_s * (1 + JITTER * (2 * self._rng() - 1)))
            try:
                async with self._room:
                    reading, reason = await self._once(question)
            except Exception:
                log.exception("telemetry broke", extra=_words(question))
                reading, reason = None, "it broke"
            silent = silent + 1 if reading is None else 0
            known = None if reading in NOTHING else reading
            _tell(question, before, known, reason)
            before = known
            if known is None:
                self._unheard[question.of] = question
            else:
                self._unheard.pop(question.of, None)
                now = self._clock.now()
                self._board.note(question.identity, known, now, question.every_s)

    async def _once(self, question: Question) -> tuple[Reading | None, str]:
        """What it says, or None and why it does not."""
        probing = isinstance(question.read, Probe)
        try:
            status, text = await self._asks.get(
                question.url,
                key=question.key,
                ca=question.ca,
                within_s=PROBE_WITHIN_S if probing else SCRAPE_WITHIN_S,
            )
            reading = _reading(question.read, status, text)
            return reading, "nothing known" if status == 200 else f"status {status}"
        except (OSError, BadText) as error:
            # Of a text that cannot be read nothing is repeated.
            said = "" if isinstance(error, BadText) else plain(error)
            return False if probing else None, said or type(error).__name__

    async def close(self) -> None:
        """Ask no more."""
        asking = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        await tasks.end(asking)


def _kind(question: Question) -> str:
    return {Probe: "health", Family: "load", Rules: "signals"}[type(question.read)]


def _words(question: Question) -> dict[str, str]:
    return {"backend": question.name, "telemetry": _kind(question)}


def _tell(question: Question, before: Reading | None, reading: Reading | None, why: str) -> None:
    """Only when it is another than before: telemetry is a help and no condition."""
    if reading is False and before is not False:
        log.warning("engine is not well", extra={**_words(question), "reason": why})
    elif reading is None and before is not None:
        log.warning("no telemetry", extra={**_words(question), "reason": why})
    elif reading and not before:
        log.info("telemetry is back", extra=_words(question))


def _reading(read: Family | Rules | Probe, status: int, text: bytes) -> Reading | None:
    if isinstance(read, Probe):
        return read.well(status)
    if status != 200:
        return None
    return read.load(text) if isinstance(read, Family) else read.signals(text)
