"""The simulated world in which policies of selection are compared: engines, arrivals, faults.

Frozen: what is compared here was written down before any policy was tuned in it, and is not to be
changed for one's sake.  Everything is drawn from the seed, so a run repeats to the last event.

An engine serves first come, first served: one prompt is read at a time, while fewer than `slots`
replies are being written; each of those gains a token every `base_s + each_s * n`, more slowly
while a prompt is read.

Source: algorithms.md 1.5.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, count
from math import log
from typing import Literal, Protocol

from modgate.sim.sharing import Sharing

WARM = 0.1  # of the run, that is not counted
FAULT_FROM, FAULT_TO = 0.35, 0.7  # of the run
SLOWER = 6.0
FAIL_S = 0.01
STALLED, STALL_S = 0.12, 2.5
PREFIXES, ZIPF, PREFIX_TOKENS, CACHED_PREFIXES = 120, 0.9, 1500, 24
TRIES = 3
WHILE_READING = 1.35
READ_BASE_S = 0.01
FULL_RATE = 50.0

Fault = Literal["none", "slow", "failing", "stalls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A class of engines: prompt tokens read a second, seconds a token, replies at once."""

    reads_per_s: float
    base_s: float
    each_s: float
    slots: int


FAST = Kind(reads_per_s=20_000, base_s=0.012, each_s=0.00015, slots=64)
MID = Kind(reads_per_s=10_000, base_s=0.020, each_s=0.0003, slots=48)
SLOW = Kind(reads_per_s=4_000, base_s=0.035, each_s=0.0006, slots=32)
TWELVE = (FAST,) * 4 + (MID,) * 4 + (SLOW,) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run: which engines, how many gateways, what load, what goes wrong."""

    kinds: tuple[Kind, ...] = TWELVE
    rate_per_s: float = 0.85 * FULL_RATE
    gateways: int = 8
    seconds: float = 200.0
    fault: Fault = "none"
    prefixes: bool = False
    seed: int = 1


@dataclass(slots=True, eq=False, kw_only=True)
class Ask:
    """One request.  `prefix`: which of the common prompts it begins with; -1 = none."""

    number: int
    gateway: int
    prompt: int
    output: int
    prefix: int
    came_s: float
    first_s: float = -1.0
    ended_s: float = -1.0
    engine: int = -1
    tries: int = 0

    @property
    def target_s(self) -> float:
        """Until its first token."""
        return 0.5 + 0.00025 * self.prompt

    @property
    def kept(self) -> bool:
        """Whether its promise was kept: first token in time, tokens no further apart than 60 ms."""
        if self.ended_s < 0 or self.first_s - self.came_s > self.target_s:
            return False
        return self.output < 2 or (self.ended_s - self.first_s) / (self.output - 1) <= 0.060


class Policy(Protocol):
    """What is compared.  `ask.engine` is where it was sent."""

    def choose(self, ask: Ask, tried: frozenset[int], now: float) -> int:
        """The engine that gets it; it goes there at once."""
        ...

    def first(self, ask: Ask, now: float) -> None:
        """Its first token came."""
        ...

    def ended(self, ask: Ask, now: float, *, ok: bool) -> None:
        """Its attempt ended."""
        ...

    def tick(self, world: World, now: float) -> None:
        """Each 50 ms."""
        ...


class Engine:
    """One engine."""

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.number = number
        self.waiting: deque[Ask] = deque()
        self.reading: Ask | None = None
        self.running: Sharing[Ask] = Sharing()  # a unit is a token
        self.slower = 1.0
        self.version = 0
        self.cache: OrderedDict[int, None] = OrderedDict()
        self.read_tokens = 0

    @property
    def step_s(self) -> float:
        """Seconds a token now."""
        kind = self.kind
        step = (kind.base_s + kind.each_s * len(self.running)) * self.slower
        return step * WHILE_READING if self.reading is not None else step

    def advance(self, now: float) -> None:
        """Up to now all went as it stood."""
        self.running.advance(now, self.step_s)

    def read_s(self, ask: Ask) -> float:
        """How long reading this prompt takes, begun now."""
        prompt = ask.prompt
        if ask.prefix >= 0:
            if ask.prefix in self.cache:
                prompt -= PREFIX_TOKENS
            self.cache[ask.prefix] = None
            self.cache.move_to_end(ask.prefix)
            if len(self.cache) > CACHED_PREFIXES:
                self.cache.popitem(last=False)
        self.read_tokens += prompt
        kind = self.kind
        full = len(self.running) / kind.slots
        return (prompt / kind.reads_per_s * (1 + 0.5 * full) + READ_BASE_S) * self.slower


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a run.  `asks`: those that count; `attempts`, `failed`: of all."""

    asks: list[Ask]
    scenario: Scenario
    attempts: int
    failed: int
    read_tokens: int
    prompt_tokens: int
    sent: list[int] = field(default_factory=list)

    def kept(self, since: float = 0.0, until: float = 1.0) -> float:
        """Per cent of promises kept, of requests that came in this part of the run."""
        end = self.scenario.seconds
        chosen = [ask for ask in self.asks if since * end <= ask.came_s < until * end]
        return 100.0 * sum(ask.kept for ask in chosen) / len(chosen)

    def first_s(self, share: float) -> float:
        """A quantile of the time to the first token."""
        times = sorted(
            ask.first_s - ask.came_s if ask.first_s >= 0 else float("inf") for ask in self.asks
        )
        return times[min(len(times) - 1, int(share * len(times)))]


class World:
    """A run: `World(scenario, policy).run()`."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self.scenario = scenario
        self.engines = [Engine(kind, number) for number, kind in enumerate(scenario.kinds)]
        self._policy = policy
        self._faults = random.Random(scenario.seed + 1_000_003)
        self._heap: list[tuple[float, int, str, Engine | None, Ask | None, int]] = []
        self._order = count()
        self._attempts = self._failed = 0
        self._tried: dict[int, set[int]] = {}

    def _at(
        self, when: float, what: str, engine: Engine | None, ask: Ask | None, version: int = 0
    ) -> None:
        heappush(self._heap, (when, next(self._order), what, engine, ask, version))

    def _asks(self) -> list[Ask]:
        """Every request of the run: the same ones for every policy."""
        same = replace(self.scenario, kinds=(), fault="none")
        return [
            Ask(number=n, gateway=g, prompt=p, output=o, prefix=x, came_s=s)
            for n, (s, g, p, o, x) in enumerate(_drawn(same))
        ]

    def run(self) -> Result:
        """From the first arrival to the last token."""
        scenario, asks = self.scenario, self._asks()
        for ask in asks:
            self._at(ask.came_s, "came", None, ask)
        if scenario.fault == "slow":
            self._at(FAULT_FROM * scenario.seconds, "slower", self.engines[0], None)
            self._at(FAULT_TO * scenario.seconds, "as before", self.engines[0], None)
        left, tick = len(asks), 0.0
        while left:
            now, _, what, engine, ask, version = heappop(self._heap)
            while tick <= now:
                self._policy.tick(self, tick)
                tick += 0.05
            left -= self._happens(now, what, engine, ask, version)
        counted = [ask for ask in asks if ask.came_s >= WARM * scenario.seconds]
        return Result(
            asks=counted,
            scenario=scenario,
            attempts=self._attempts,
            failed=self._failed,
            read_tokens=sum(engine.read_tokens for engine in self.engines),
            prompt_tokens=sum(ask.prompt for ask in asks),
            sent=[sum(a.engine == e.number for a in asks) for e in self.engines],
        )

    def _happens(
        self, now: float, what: str, engine: Engine | None, ask: Ask | None, version: int
    ) -> int:
        """One event; how many requests it ended."""
        match what, engine, ask:
            case "came", None, Ask():
                self._send(ask, now)
            case "read", Engine(), Ask():
                self._read(engine, ask, now)
            case "first", Engine(), Ask() if ask.first_s < 0:
                ask.first_s = now
                self._policy.first(ask, now)
            case "written", Engine(), None if version == engine.version:
                return self._written(engine, now)
            case "fails", Engine(), Ask():
                self._failed += 1
                self._policy.ended(ask, now, ok=False)
                if ask.tries >= TRIES:
                    return 1
                self._send(ask, now)
            case "slower" | "as before", Engine(), None:
                engine.advance(now)
                engine.slower = SLOWER if what == "slower" else 1.0
                self._next(engine, now)
        return 0

    def _in_fault(self, now: float) -> bool:
        end = self.scenario.seconds
        return FAULT_FROM * end <= now < FAULT_TO * end

    def _send(self, ask: Ask, now: float) -> None:
        tried = self._tried.setdefault(ask.number, set())
        number = self._policy.choose(ask, frozenset(tried), now)
        tried.add(number)
        ask.engine, ask.tries = number, ask.tries + 1
        self._attempts += 1
        engine = self.engines[number]
        if self.scenario.fault == "failing" and number == 0 and self._in_fault(now):
            self._at(now + FAIL_S, "fails", engine, ask)
            return
        engine.waiting.append(ask)
        if engine.reading is None:
            engine.advance(now)
            self._start(engine, now)
            self._next(engine, now)

    def _start(self, engine: Engine, now: float) -> None:
        """Read the next prompt, if there is one and a place for its reply."""
        if engine.waiting and len(engine.running) < engine.kind.slots:
            engine.reading = engine.waiting.popleft()
            self._at(now + engine.read_s(engine.reading), "read", engine, engine.reading)

    def _read(self, engine: Engine, ask: Ask, now: float) -> None:
        engine.advance(now)
        engine.reading = None
        stalls = self.scenario.fault == "stalls" and engine.number in (0, 1)
        late = STALL_S if stalls and self._faults.random() < STALLED else 0.0
        if late and self._in_fault(now):
            self._at(now + late, "first", engine, ask)
        else:
            ask.first_s = now
            self._policy.first(ask, now)
        engine.running.add(ask.output - 1, ask.number, ask)
        self._start(engine, now)
        self._next(engine, now)

    def _written(self, engine: Engine, now: float) -> int:
        engine.advance(now)
        ended = 0
        for ask in engine.running.done():
            ask.ended_s = now
            if ask.first_s < 0:  # all of it came after the stall
                ask.first_s = now
                self._policy.first(ask, now)
            self._policy.ended(ask, now, ok=True)
            ended += 1
        if engine.reading is None:
            self._start(engine, now)
        self._next(engine, now)
        return ended

    def _next(self, engine: Engine, now: float) -> None:
        """When the next reply will be written, as things stand."""
        engine.version += 1
        if engine.running:
            left_s = engine.running.left_s(engine.step_s)
            self._at(now + left_s, "written", engine, None, engine.version)


@lru_cache(maxsize=16)
def _drawn(scenario: Scenario) -> list[tuple[float, int, int, int, int]]:
    """When each request comes; its gateway, prompt, output and prefix."""
    rng, drawn, now = random.Random(scenario.seed), [], 0.0
    zipf = list(accumulate(1 / (rank + 1) ** ZIPF for rank in range(PREFIXES)))
    while (now := now + rng.expovariate(scenario.rate_per_s)) < scenario.seconds:
        prompt = int(min(16_000, max(16, rng.lognormvariate(log(800), 1.1))))
        output = int(min(2_000, max(2, rng.lognormvariate(log(150), 0.9))))
        gateway, prefix = rng.randrange(scenario.gateways), -1
        if scenario.prefixes:
            prefix = bisect(zipf, rng.random() * zipf[-1])
            prompt = prompt // 2 + PREFIX_TOKENS
        drawn.append((now, gateway, prompt, output, prefix))
    return drawn


def capacity(kinds: tuple[Kind, ...]) -> float:
    """Requests of this world that engines of these kinds can serve a second, about."""
    prompt, output = 1430.0, 222.0  # means of the clipped distributions
    found = 0.0
    for kind in kinds:
        read = 1 / (prompt / kind.reads_per_s * 1.4 + READ_BASE_S)
        write = kind.slots / (kind.base_s + kind.each_s * kind.slots) / WHILE_READING / output
        found += min(read, write)
    return found


def random_scenario(seed: int) -> Scenario:
    """A fleet, a load and a number of gateways that nobody chose."""
    rng = random.Random(seed * 7919 + 17)
    kinds: list[Kind] = []
    for _ in range(rng.randint(2, 4)):
        speed = rng.uniform(0.25, 1.6)
        kind = Kind(
            reads_per_s=16_000 * speed * rng.uniform(0.7, 1.4),
            base_s=0.015 / speed**0.8 * rng.uniform(0.8, 1.2),
            each_s=0.0002 / speed**0.8 * rng.uniform(0.7, 1.3),
            slots=rng.choice((16, 24, 32, 48, 64)),
        )
        kinds += [kind] * rng.randint(1, 5)
    fleet = tuple(kinds)
    return Scenario(
        kinds=fleet,
        rate_per_s=capacity(fleet) * rng.uniform(0.4, 0.9),
        gateways=rng.choice((1, 2, 4, 8)),
        seconds=120.0,
        seed=seed,
    )
