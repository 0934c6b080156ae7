"""More work than a pool can do: one tenant floods it, eight quiet ones want little.

A pool of 16 slots; a call takes what it takes, wherever it runs.  A policy decides whose turn it is
and who is sent away.  A call is good when it has ended within its deadline; what is spent on others
is lost.  Everything is drawn from the seed.

Source: algorithms.md 2.3.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import log
from typing import Protocol

from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.fair import Charge, Took
from modgate.fleet.line import Line
from modgate.fleet.rate import Service

SLOTS, DEADLINE_S = 16, 5.0
QUIET, QUIET_LOAD = 8, 0.3  # tenants, and what they want of the pool in all
SHORT_S, SHORT_SPREAD, LONG_S, LONG_SPREAD = 0.4, 0.5, 1.5, 0.6  # medians, in seconds
UNITS = 100.0  # of work a second
GUESSED = 0.3  # how far a call's work is known before it is done
WARM_S = 10.0
SECONDS = 120.0
FIFO_MOST = 400


@dataclass(slots=True, eq=False)
class Call:
    """`took_s`: at its engine.  `claim.work`: what it is supposed to be."""

    claim: Claim
    took_s: float
    came_s: float
    ended_s: float = -1.0
    charge: Charge[Call] | None = None
    shape: Hashable = ""

    @property
    def good(self) -> bool:
        """It ended in time."""
        return 0 <= self.ended_s <= self.claim.until


class Policy(Protocol):
    """Who waits, and whose turn it is."""

    def came(self, call: Call, now: float) -> None:
        """A call that finds no slot."""
        ...

    def next(self, now: float) -> Call | None:
        """Who gets the slot that is free."""
        ...

    def ended(self, call: Call, now: float) -> None:
        """A call was done."""
        ...


class Fair:
    """This gateway's own line.  `predicts`: a call that would be late is sent away as it comes."""

    def __init__(self, *, predicts: bool = True) -> None:
        self.line: Line[Call] = Line()
        self.rules = QueueRules()
        self.predicts = predicts
        self.refused = 0

    def came(self, call: Call, now: float) -> None:
        """Refused, or in the line."""
        if self.predicts and self.line.late(call.claim, self.rules, now) is not None:
            self.refused += 1
            return
        self.line.push(call, self.rules, now)

    def next(self, now: float) -> Call | None:
        """By its turn; who is too late is out."""

        def take(call: Call) -> Took:
            return "gone" if self.line.expired(call.claim, now) else "taken"

        served = self.line.serve(take, set(), now)
        if served is None:
            return None
        call, call.charge = served[0], served[1]
        return call

    def ended(self, call: Call, now: float) -> None:
        """What it took is known."""
        self.line.tally.served += call.claim.work
        self.line.tally.look(now)
        self.line.tally.service.took(call.claim.work, call.took_s)
        if call.charge is not None:
            call.charge.settle(call.took_s * UNITS)


class Fifo:
    """First come, first served.  `drops`: who would be late is not served any more."""

    def __init__(self, *, drops: bool) -> None:
        self._waiting: deque[Call] = deque()
        self._drops = drops
        self._service = Service()

    def came(self, call: Call, now: float) -> None:
        """At the end, if there is room."""
        del now
        if len(self._waiting) < FIFO_MOST:
            self._waiting.append(call)

    def next(self, now: float) -> Call | None:
        """The oldest."""
        while self._waiting:
            call = self._waiting.popleft()
            if not self._drops or now + self._service.seconds(call.claim.work) <= call.claim.until:
                return call
        return None

    def ended(self, call: Call, now: float) -> None:
        """What such a call takes is learned."""
        del now
        self._service.took(call.claim.work, call.took_s)


@dataclass(slots=True, kw_only=True)
class Told:
    """`goodput`: of what the pool can do, what went into good calls.  `p95_s`: of quiet tenants'
    calls, one that was never served counting as never ended; `good`: of theirs, the share."""

    goodput: float
    p95_s: float
    good: float


def run(policy: Policy, load: float, *, seed: int) -> Told:
    """`load`: wanted of the pool in all, 1 = as much as it can do; 0 = the quiet tenants alone."""
    calls = _calls(random.Random(seed), load)
    ends: list[tuple[float, int, Call]] = []
    order, free = count(), SLOTS

    def begin(call: Call, now: float) -> None:
        nonlocal free
        free -= 1
        call.ended_s = now + call.took_s
        heappush(ends, (call.ended_s, next(order), call))

    for call in [*calls, None]:
        until = call.came_s if call is not None else float("inf")
        while ends and ends[0][0] <= until:
            now, _, done = heappop(ends)
            free += 1
            policy.ended(done, now)
            while free and (found := policy.next(now)) is not None:
                begin(found, now)
        if call is None:
            break
        if free:
            begin(call, call.came_s)
        else:
            policy.came(call, call.came_s)
    counted = [call for call in calls if call.came_s >= WARM_S]
    quiet = [call for call in counted if call.claim.tenant != "flood"]
    times = sorted(c.ended_s - c.came_s if c.ended_s >= 0 else float("inf") for c in quiet)
    spent = sum(call.took_s for call in counted if call.good)
    return Told(
        goodput=spent / (SLOTS * (SECONDS - WARM_S)),
        p95_s=times[int(0.95 * len(times))],
        good=sum(call.good for call in quiet) / len(quiet),
    )


def _calls(rng: random.Random, load: float) -> list[Call]:
    """Every call of the run, as it comes; the quiet tenants' are the same at every load."""
    found: list[Call] = []
    tenants = [(f"quiet {n}", QUIET_LOAD / QUIET, SHORT_S, SHORT_SPREAD) for n in range(QUIET)]
    tenants.append(("flood", max(0.0, load - QUIET_LOAD), LONG_S, LONG_SPREAD))
    for tenant, part, median_s, spread in tenants:
        own = random.Random(rng.random())
        mean_s = median_s * 2.718281828 ** (spread**2 / 2)
        rate, now = part * SLOTS / mean_s, 0.0
        while rate and (now := now + own.expovariate(rate)) < SECONDS:
            took_s = own.lognormvariate(log(median_s), spread)
            claim = Claim(
                tenant=tenant,
                request=object(),
                work=took_s * UNITS * own.lognormvariate(0, GUESSED),
                until=now + DEADLINE_S,
            )
            found.append(Call(claim, took_s, now))
    return sorted(found, key=lambda call: call.came_s)
