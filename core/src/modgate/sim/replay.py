"""Requests of receipts, through the gateway's own goals, fleet and queue, before simulated engines.

All of it runs in virtual time, so an hour of traffic takes as long as its decisions do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from modgate.api.auth import Policy
from modgate.api.body import Body
from modgate.api.modality import AnyModality
from modgate.api.plan import Call
from modgate.errors import GatewayError
from modgate.fleet.claim import LEAST_WORK, Claim
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.gateway import timeouts_of
from modgate.goals import Goals
from modgate.sim import virtual
from modgate.sim.engines import Engine, Job
from modgate.sim.paces import Luck, Speeds
from modgate.sim.receipts import Past, PastCall
from modgate.sim.sizes import GAP_S, Sized
from modgate.snapshot.blueprint import Blueprint
from modgate.snapshot.fleet import fleet_of

NO_BODY = Body("json", raw=b"{}")


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a request; seconds since it came, -1 = that never happened.

    `queued_s`: its calls' longest wait for a slot.  `best_effort`: at least one of its calls was
    sent where it would be late.  `refused`: the error code.
    """

    past: Past
    first_s: float = -1.0
    ended_s: float = -1.0
    queued_s: float = 0.0
    best_effort: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """What a backend did: calls, and the sum of the seconds that they were there."""

    calls: int
    busy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """`outcomes`: in the order in which requests came; `seconds`: until the last of them ended."""

    outcomes: Sequence[Outcome]
    wear: Mapping[str, Wear]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """All that a replay needs.  `load`: requests come so many times as fast as they did.

    `policies`: by tenant, of those that the configuration knows.
    """

    made: Blueprint
    modalities: Mapping[str, AnyModality]
    past: Sequence[tuple[Past, Sized]]
    luck: Mapping[int, Sequence[Luck]]
    speeds: Speeds
    policies: Mapping[str, Policy] = field(default_factory=dict)
    load: float = 1.0
    seed: int = 1


def policy_of(past: Past, policies: Mapping[str, Policy]) -> Policy:
    """What its tenant may use; of one that the configuration does not know, as it was then."""
    policy = policies.get(past.tenant)
    return policy if policy is not None else Policy(slo=past.slo, regions=past.regions)


def replay(play: Play) -> Replayed:
    """From the first request to the end of the last."""
    return virtual.run(_Run(play).all())


class _Run:
    """One replay.  To be made and run in the virtual loop's thread."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._outcomes: list[Outcome] = []
        self._engines: dict[str, Engine] = {}

    async def all(self) -> Replayed:
        """Every request at its time."""
        play, loop = self._play, asyncio.get_running_loop()
        state, backends = FleetState(), play.made.linked.backends
        lots = random.Random(play.seed)
        self._fleet: Fleet = fleet_of(
            play.made.linked, state, backends=backends, now=loop.time, rng=lots
        )
        self._goals = Goals(play.made.linked.targets, play.made.linked.unmet, state.expected)
        self._timeouts = timeouts_of(play.made.linked)
        for backend in backends:
            speeds = play.speeds.items()
            own = {what: speed for (name, what), speed in speeds if name == backend.name}
            self._engines[backend.name] = Engine(own, loop)
        began = play.past[0][0].at
        async with asyncio.TaskGroup() as requests:
            for past, size in play.past:
                await asyncio.sleep(max(0.0, (past.at - began) / play.load - loop.time()))
                requests.create_task(self._request(past, size))
        wear = {
            name: Wear(calls=engine.calls, busy_s=engine.busy_s)
            for name, engine in self._engines.items()
        }
        return Replayed(outcomes=self._outcomes, wear=wear, seconds=loop.time())

    async def _request(self, past: Past, size: Sized) -> None:
        """Its calls, so many at once as were; the first that is refused ends it."""
        loop = asyncio.get_running_loop()
        outcome = Outcome(past=past)
        self._outcomes.append(outcome)
        came, room = loop.time(), asyncio.Semaphore(past.width)

        async def one(call: PastCall, luck: Luck) -> None:
            async with room:
                if not outcome.refused:
                    await self._call(outcome, size, luck, came)

        luck = self._play.luck[past.line]
        await asyncio.gather(*(one(*each) for each in zip(past.calls, luck, strict=True)))
        if outcome.refused:
            return
        outcome.ended_s = loop.time() - came
        if outcome.first_s < 0:
            outcome.first_s = outcome.ended_s
        front = f"{past.modality}."
        self._fleet.learn(
            past.model,
            {front + name: n for name, n in size.whole.items()},
            waited=outcome.queued_s > 0,
        )

    async def _call(self, outcome: Outcome, size: Sized, luck: Luck, came: float) -> None:
        past, loop = outcome.past, asyncio.get_running_loop()
        streams = any(call.ended_s - call.first_s > GAP_S for call in past.calls) and past.stream
        call = Call(path="", body=NO_BODY, size=size.bound, reply="sse" if streams else "whole")
        wanted = Wanted(regions=policy_of(past, self._play.policies).regions)
        asked = loop.time()
        try:
            lease = await self._lease(past, call, wanted)
        except GatewayError as error:
            outcome.refused = error.code
            return
        outcome.queued_s = max(outcome.queued_s, loop.time() - asked)
        outcome.best_effort |= lease.why == "best_effort"

        def first() -> None:
            lease.first()
            if streams and outcome.first_s < 0:
                outcome.first_s = loop.time() - came

        job = Job(read=size.read, written=size.written, work=size.work, streams=streams, luck=luck)
        try:
            await self._engines[lease.backend.name].serve(past.modality, job, first)
        finally:
            lease.give_back("ok", events=max(1, int(size.written)) if streams else 0)

    async def _lease(self, past: Past, call: Call, wanted: Wanted) -> Lease:
        """As `Dispatch` does it."""
        fleet, policy = self._fleet, policy_of(past, self._play.policies)
        modality = self._play.modalities[past.modality]
        if fleet.has_choice(past.model):
            wanted.work, wanted.terms = self._goals.terms(
                call, model=past.model, modality=modality, tenant=past.tenant, slo=policy.slo
            )
        else:
            wanted.work = self._goals.work(call, model=past.model, modality=modality)
        lease = fleet.at_once(past.model, wanted)
        if lease is not None:
            return lease
        phase = "total" if call.reply == "whole" else "first_byte"
        patience_s = fleet.rules.patience_s.get(policy.slo, inf)
        within_s = min(patience_s, self._timeouts.seconds(past.modality, phase, call.size))
        claim = Claim(
            tenant=past.tenant,
            slo=policy.slo,
            weight=policy.weight,
            request=past.id,
            modality=past.modality,
            work=max(wanted.work, LEAST_WORK),
            since=fleet.now(),
            until=fleet.now() + within_s,
        )
        try:
            async with asyncio.timeout(within_s):
                lease = await fleet.wait(past.model, wanted, claim)
        except TimeoutError:
            raise fleet.waiting.timed_out(past.model, wanted, claim) from None
        assert lease is not None, "nobody takes it along: it has no key"
        return lease
