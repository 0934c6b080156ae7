"""Calls that wait for a slot: futures and timers around the pure line of each model.

Whoever gives a slot back calls `pump`: free slots go to the calls whose turn it is, model by model
in turn, because models may share an engine or a group of slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from modgate.fleet.bound import Bound, Full
from modgate.fleet.claim import Claim, QueueRules
from modgate.fleet.fair import Charge, Took
from modgate.fleet.lease import Lease
from modgate.fleet.line import ROOM_AGAIN, Line, retry_s
from modgate.fleet.pick import Wanted
from modgate.fleet.rng import Rng
from modgate.fleet.tally import Tally

EACH_S = 1.0
DUES_AT_MOST = 4096  # of one request; calls beyond them stay as they were counted

Lines = dict[str, "Line[Waiter]"]


class Grants(Protocol):
    """Who has slots."""

    def in_turn(self, model: str, wanted: Wanted) -> Lease | None:
        """A slot for a waiting call whose turn it is; None = none is free."""
        ...


@dataclass(slots=True, frozen=True)
class Due:
    """What the fair queue counted for a call that waited, until its actual work is known."""

    model: str
    charge: Charge[Waiter]
    tally: Tally


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter:
    """A call that waits.

    `dues`: its request's list, which gets what the queue counted when it is served.  `waits`: it
    is in the line.
    """

    fleet: Grants
    model: str
    wanted: Wanted
    claim: Claim
    granted: asyncio.Future[Lease | None]
    shape: Hashable
    rider: object = None
    dues: list[Due] | None = None
    waits: bool = False


def shape_of(wanted: Wanted, *, filtered: bool) -> Hashable:
    """Where a call finds no slot, no other call of its shape finds one.

    The work is part of the shape where a promise is waited for: a large call may be late where a
    small one is not.  `filtered`: an operator's filter sees tenant and size, so both are part.
    """
    terms, own = wanted.terms, None
    if filtered:
        own = (wanted.tenant, tuple(wanted.size.items()))
    promise = None
    if terms is not None and terms.unmet != "best_effort":
        promise = (terms.slo, terms.phase, terms.target_s, wanted.work)
    return (wanted.regions, wanted.requires, wanted.tried, promise, own)


class Waiting:
    """The lines of all models.

    `lines`: of FleetState, by model; `busy`: those of them in which calls wait, in order of their
    turns.  `free_s`: the expected seconds until a slot is free for a call.
    """

    def __init__(
        self,
        lines: Lines,
        busy: Lines,
        *,
        rules: QueueRules,
        rng: Rng,
        now: Callable[[], float],
        saw_depth: Callable[[str, int], None],
        free_s: Callable[[str, Wanted], float],
    ) -> None:
        self._lines = lines
        self._busy = busy
        self._rules = rules
        self._rng = rng
        self._now = now
        self._saw_depth = saw_depth
        self._free_s = free_s
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, waiter: Waiter, line: Line[Waiter]) -> Lease | None:
        """A slot when it is its turn in its model's line; whoever awaits it bounds the wait.

        None: another call of the same `key` took its `rider` along.  Overloaded where the line has
        no room, or gives its place to others, or it would be served too late.
        """
        model, wanted, claim = waiter.model, waiter.wanted, waiter.claim
        now = self._now()
        late = line.late(claim, self._rules, now)
        if late is not None:
            text = f"calls of the model '{model}' wait too long for this one; try again later"
            seconds = late.held - late.most + self._free_s(model, wanted)
            raise self._refused(text, late, seconds, line.place(claim.tenant))
        self._saw_depth(claim.modality, line.calls)
        self._push(line, waiter, now)
        self.pump()
        self._again_soon()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _again_soon(self) -> None:
        """Pump each second while calls wait: a slot may be free because time passed, or because
        another gateway gave it back."""
        if self._timer is None and self._busy:
            self._timer = asyncio.get_running_loop().call_later(EACH_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.pump()
        self._again_soon()

    def _push(self, line: Line[Waiter], waiter: Waiter, now: float) -> None:
        model = waiter.model
        self._busy.setdefault(model, line)
        waiter.waits = True
        for each, bound in line.push(waiter, self._rules, now):
            each.waits = False
            if not each.granted.done():
                text = f"too many calls wait for the model '{model}'; try again later"
                seconds = ROOM_AGAIN * line.wait_s(each.claim, self._rules)
                seconds += self._free_s(model, each.wanted)
                place = line.place(each.claim.tenant)
                each.granted.set_exception(self._refused(text, bound, seconds, place))

    def timed_out(self, model: str, wanted: Wanted, claim: Claim) -> Full:
        """The error of a call whose time to wait ran out, and which is still in the line.

        Where no time until a free slot is known, its Retry-After is the time that it waited.
        """
        now, line = self._now(), self._lines.get(model)
        seconds, late, place = self._free_s(model, wanted), None, 1
        if line is not None:
            late = line.expired(claim, now)
            seconds += line.wait_s(claim, self._rules)
            place = max(1, line.place(claim.tenant) - 1)
        if late is None:
            late = Bound(of="deadline", whose=claim.ends, held=0.0, most=claim.until - now)
        text = f"no backend of the model '{model}' became free in time"
        return self._refused(text, late, seconds or now - claim.since, place)

    def _refused(self, text: str, bound: Bound, seconds: float, place: int) -> Full:
        error = Full(text, bound)
        error.place = place
        error.retry_after_s = retry_s(seconds, self._rng.random())
        return error

    def _withdraw(self, waiter: Waiter) -> None:
        """It was cancelled: leave the line, and give back a slot that was granted meanwhile."""
        if waiter.waits:
            self._lines[waiter.model].remove(waiter, self._now())
            self._left(waiter)
        granted = waiter.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            lease = granted.result()
            if lease is not None:
                lease.give_back()

    def _left(self, waiter: Waiter) -> None:
        waiter.waits = False
        if not self._lines[waiter.model].calls:
            self._busy.pop(waiter.model, None)

    def companions(
        self, model: str, key: Hashable, choose: Callable[[Sequence[object]], Sequence[object]]
    ) -> Sequence[object]:
        """Take riders of waiting calls with this key along; their calls wait no longer.

        `choose` gets all of them, oldest first, and returns those that go.
        """
        line = self._busy.get(model)
        if line is None:
            return ()
        there = {id(w.rider): w for w in line.alike(key) if not w.granted.done()}
        if not there:
            return ()
        taken = choose([waiter.rider for waiter in there.values()])
        for rider in taken:
            waiter = there[id(rider)]
            waiter.granted.set_result(None)
            self._owes(waiter, line.taken(waiter, self._now()), line)
            self._left(waiter)
        return taken

    def pump(self) -> None:
        """Give free slots to waiting calls; never raises, because whoever gives back calls it."""
        busy = self._busy
        if not busy:
            return
        now = self._now()
        blocked: dict[str, set[Hashable]] = {model: set() for model in busy}
        while blocked:
            for model in list(blocked):
                line = busy.get(model)
                if line is None or not self._serve(line, blocked[model], now):
                    del blocked[model]
                if line is not None and not line.calls:
                    busy.pop(model, None)
                elif line is not None and model in blocked:  # now it is the other models' turn
                    busy[model] = busy.pop(model)

    def _serve(self, line: Line[Waiter], blocked: set[Hashable], now: float) -> bool:
        """Serve one call of this line; False when there is no slot for any."""

        def take(waiter: Waiter) -> Took:
            took = self._granted(line, waiter, now)
            if took != "blocked":
                waiter.waits = False
            return took

        served = line.serve(take, blocked, now)
        if served is None:
            return False
        waiter, charge = served
        self._owes(waiter, charge, line)
        return True

    def _granted(self, line: Line[Waiter], waiter: Waiter, now: float) -> Took:
        """Grant it a slot, if one is free; a cancelled call is in line until its task runs."""
        if waiter.granted.done():
            return "gone"
        if line.expired(waiter.claim, now) is not None:
            never = self.timed_out(waiter.model, waiter.wanted, waiter.claim)
            waiter.granted.set_exception(never)
            return "gone"
        lease = waiter.fleet.in_turn(waiter.model, waiter.wanted)
        if lease is None:
            return "blocked"
        waiter.granted.set_result(lease)
        return "taken"

    def _owes(self, waiter: Waiter, charge: Charge[Waiter], line: Line[Waiter]) -> None:
        if waiter.dues is not None and len(waiter.dues) < DUES_AT_MOST:
            waiter.dues.append(Due(waiter.model, charge, line.tally))
