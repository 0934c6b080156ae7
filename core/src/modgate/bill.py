"""One request's bill while it lives: what it may cost, what it did cost, and the end of both.

admit -> (hold)* -> reserve -> (more | touch)* -> settle; from `take_back` on once more.
Settling is synchronous and happens once, on every ending: the limits are put right, the ledger
frame is written, the receipt goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from modgate.api.modality import AnyModality
from modgate.api.plan import Call, Drawn, Plan
from modgate.api.price import BUDGET, MONEY
from modgate.api.relay import Usage
from modgate.api.surface import Surface
from modgate.disconnect import CUT, DRAINED, NOTE
from modgate.draft import Draft
from modgate.dues import settle_dues
from modgate.ending import ending_of
from modgate.errors import GatewayError, LedgerUnavailable, PluginFault
from modgate.gateway import Gateway
from modgate.limits.admission import Admission, Aside, Mark
from modgate.limits.headers import anthropic_headers
from modgate.limits.headers import headers as rate_headers
from modgate.limits.shared import Miss
from modgate.limits.state import What
from modgate.meter import Meter
from modgate.state import State
from modgate.units import NOTHING, Units

T = TypeVar("T")

LARGE_BODY = 64 << 10  # bytes of a body that is worth a look at shared limits before it is read


class Bill:
    """The money side of one exchange.

    `meter`: what it has cost.  `lazy`: what the plan draws may need more than it reserves.
    `planned`: what is reserved for the plan's calls of its own model.
    """

    def __init__(self, state: State, gateway: Gateway, draft: Draft) -> None:
        self._state = state
        self._gateway = gateway
        self._draft = draft
        self._admission: Admission | None = None
        self._seen: Admission | None = None  # the same, and kept when the request is refused
        self.planned = self._drawn = self._asking = NOTHING
        self.lazy = False
        self._touched = False  # the ledger has something that the plan used
        self._mark: tuple[Mark, dict[str, int]] | None = None
        self._now = state.clock.now
        self._budgeted = False
        self._modalities: tuple[str, ...] = ()  # those of the route
        self.meter = Meter(gateway.units, draft)

    @property
    def _held(self) -> Admission:
        assert self._admission is not None, "nothing is charged before the request is admitted"
        return self._admission

    async def _patiently(self, step: Callable[..., T]) -> T:
        """Take a step that may need a shared store; fetch what it lacks and take it again.

        Steps of every request are tried without this first: the result is the same, and sooner.
        """
        while True:
            try:
                return step(now=self._now())
            except Miss as miss:
                await self._state.fetch_limits(miss)

    async def admit(self) -> None:
        """Charge the request itself; LimitReached, QuotaSpent or Overloaded."""
        draft = self._draft
        if (reason := self._state.ledger.refusal) is not None:
            raise LedgerUnavailable(reason)
        limiter, now = self._gateway.limiter, self._now()
        admission = limiter.admit(draft.caller, now=now, wall=draft.wall)
        self._seen = admission
        try:
            try:
                limiter.charge_requests(admission, now=now)
            except Miss:
                await self._patiently(partial(limiter.charge_requests, admission))
        except BaseException:
            limiter.drop(admission)
            raise
        self._admission = admission
        self._budgeted = draft.caller.policy.limits.budgeted
        draft.admitted = True

    async def check_spent(
        self, modalities: tuple[str, ...], body_bytes: int | None, model: str = ""
    ) -> None:
        """Refuse before the body is read when no modality that it may be of has anything left.

        `model`: if it is known by now.
        """
        limiter, held = self._gateway.limiter, self._held
        self._modalities = modalities
        look = body_bytes is None or body_bytes > LARGE_BODY
        for each in (modalities, (MONEY,)) if self._budgeted else (modalities,):
            try:
                limiter.check_spent(held, each, now=self._now(), model=model, look=look)
            except Miss:
                step = partial(limiter.check_spent, held, each, model=model, look=look)
                await self._patiently(step)

    def hold(self, what: What, n: int) -> None:
        """Take `n` of what is bounded at any one time, or give it back (`n` < 0)."""
        if self._admission is not None:
            self._gateway.limiter.hold(self._admission, what, n)

    async def reserve(self, plan: Plan, modality: AnyModality) -> Units:
        """Reserve what the plan may cost, and return it."""
        units = _reserve_of(plan).of(modality.name)
        self.lazy = plan.reserve is not None
        self.planned = units
        model = self._draft.model
        charge = partial(self._charge, self._gateway.limiter.reserve, units, model)
        try:
            charge(now=self._now())
        except Miss:
            await self._patiently(charge)
        if self._budgeted:
            await self._afford(units, model, first=True)
        self._owe_planned()
        return units

    def _owe_planned(self) -> None:
        """Tell the ledger what the plan may cost, where its open frame says less.

        That frame was written for an Ask, or for fewer calls.
        """
        if (self._draft.opened or self.meter.aside) and not self._touched:
            self._owe(self.planned.full())

    def _owe(self, plan: Mapping[str, int] = NOTHING) -> None:
        """Note what a crash would leave to bill: what asides did cost, and what those may that are
        under way, and the `plan`."""
        draft = self._draft
        self._gateway.limiter.touch(self._held, None)
        draft.owed = self.meter.aside + self._asking + plan
        if draft.opened:
            self._state.ledger.touched(draft.request_id, draft.owed)

    def mark(self) -> None:
        """What is reserved from here on can be given back by `take_back`."""
        self._mark = self._held.mark(), dict(self._draft.reserved)

    def take_back(self) -> None:
        """Give back all that was reserved since `mark`: another plan will be reserved."""
        if self._mark is None:
            return
        at, self._draft.reserved = self._mark
        self._gateway.limiter.take_back(self._held, at, now=self._now())
        self._mark = self.meter.plan = None
        self._drawn, self._touched = NOTHING, False
        self._owe()
        self._draft.opened = False  # the ledger gets an open frame of the other model

    async def reserve_drawn(self, call: Call, modality: str) -> None:
        """A call was drawn: reserve what the calls so far need beyond the reserve."""
        self._drawn = self._drawn + call.size
        short = self._drawn.beyond(self.planned)
        if not short:
            return
        self.planned = self.planned + short
        units, model = short.of(modality), self._draft.model
        reserve = partial(self._gateway.limiter.reserve, requests=0)
        await self._patiently(partial(self._charge, reserve, units, model))
        if self._budgeted:
            await self._afford(units, model, first=False)
        self._owe_planned()

    async def reserve_aside(self, units: Units, model: str) -> Sequence[Aside]:
        """Reserve for an aside: first of its units, then of budgets.

        It counts as nothing used until `settle_aside` says what it used.
        """
        reserve, admission = self._gateway.limiter.reserve_aside, self._held
        held = [await self._patiently(partial(self._charge, reserve, units, model))]
        if self._budgeted:
            cost = self._gateway.budgets.reserve(self._draft, units, model, first=False)
            afford = partial(reserve, admission, cost.full(), modality=MONEY, model=model)
            held.append(await self._patiently(afford))
        return held

    def settle_aside(self, held: Sequence[Aside], used: Units, model: str) -> None:
        """An aside used so much of what was reserved for it; the rest is for other calls."""
        counts = used.full()
        held[0].used = counts
        for budget in held[1:]:
            budget.used = {BUDGET: self._gateway.budgets.cost(self._draft, counts, model)}

    @contextmanager
    def asking(self, held: Sequence[Aside], units: Units) -> Iterator[None]:
        """An aside is under way: until it is answered or has failed, a crash bills its reserve."""
        counts = units.full()
        self._asking = self._asking + counts
        for each in held:
            each.asked = True
        if self._draft.opened:
            self._owe()
        try:
            yield
        finally:
            for each in held:
                each.asked = False
            self._asking = self._asking.beyond(counts)
            self._owe()

    async def _afford(self, units: Units, model: str, *, first: bool) -> None:
        """Reserve the most that these units can cost in the tenant's budgets."""
        cost = self._gateway.budgets.reserve(self._draft, units, model, first=first)
        reserve, held, counts = self._gateway.limiter.reserve, self._held, cost.full()
        await self._patiently(
            partial(reserve, held, counts, modality=MONEY, model=model, requests=0)
        )

    def _charge(self, reserve: Callable[..., T], units: Units, model: str, *, now: float) -> T:
        """Reserve units by a method of the limiter, and note that so much more was reserved."""
        counts, reserved = units.full(), self._draft.reserved
        self.meter.check_units(counts)
        made = reserve(self._held, counts, modality=units.modality, model=model, now=now)
        for name, count in counts.items():
            reserved[name] = reserved.get(name, 0) + count
        return made

    def touch(self) -> None:
        """Note what was used so far: it is the bill if the gateway dies now.

        Where the plugin's usage fails the last note stands; `settle` logs the fault.
        """
        if self._admission is None or (used := self.meter.so_far()) is None:
            return
        if used.beyond(self.meter.aside):
            measured: Mapping[str, int] = used
            if self._budgeted:
                measured = {**used, BUDGET: self._gateway.budgets.so_far(self._draft, used)}
            self._gateway.limiter.touch(self._admission, measured)
            self._touched = True
            self._state.ledger.touched(self._draft.request_id, used)
        elif used:
            self._owe_planned()

    def headers(self, surface: Surface) -> dict[str, str]:
        """The rate limit headers, of the levels that `draft.rates` keeps.

        A request that is refused by a limit gets them, too.
        """
        if self._seen is None:
            return {}
        now, draft = self._now(), self._draft
        draft.rates = every = self._gateway.limiter.rates(self._seen, now)
        modalities = (draft.modality,) if draft.modality else self._modalities
        rates = [every[at] for at in self._seen.terms.told(modalities, draft.model)]
        if surface.rates == "anthropic-ratelimit":
            found = anthropic_headers(rates, draft.wall + now - draft.began)
        else:
            found = rate_headers(rates)
        if self._state.limits_down:
            found["x-modgate-limits"] = "local"
        return found

    def settle(
        self, error: GatewayError | None, *, status: int, bytes_in: int, bytes_out: int
    ) -> None:
        """The end, exactly once and without a wait: limits, ledger frame and receipt."""
        draft, dry, meter = self._draft, self._draft.dry, self.meter
        usage = meter.settled()
        if self._admission is not None and self._admission.would_refuse:
            draft.notes["would_refuse"] = ", ".join(self._admission.would_refuse)
        if draft.abandoned:
            draft.notes.setdefault(NOTE, CUT)
        ending = ending_of(error, admitted=draft.admitted)
        units = meter.counted(usage, bytes_in, bytes_out)
        meter.compare(units, usage.other if error is None else NOTHING)
        if dry:  # no ledger frame, and nothing billed
            draft.admitted, draft.notes["dry_run"] = False, "true"
        receipt = draft.receipt(
            ending=ending,
            status=499 if ending == "client_gone" else status,
            units={} if dry else units,
            exact=meter.exact(usage, ending),
            measured_by=usage.by,
            error=error,
        )
        if self._admission is not None:
            whole = error is None or draft.notes.get(NOTE) == DRAINED
            counted = units if whole or usage.by != "estimate" else None
            if counted is not None and self._budgeted and draft.admitted:
                counted = {**units, BUDGET: self._gateway.budgets.final(receipt)}
            self._gateway.limiter.settle(self._admission, counted, now=self._now())
            if draft.modality and draft.admitted:
                self._state.ledger.ended(receipt)
                self._teach(usage, error)
        self._state.observer.observe(receipt)
        if draft.caller.tenant:
            self._state.trails.keep(receipt, draft, self._seen, error, self._state.limits_down)
        meter.plan = None  # it keeps the run alive, and the run keeps the request alive

    def _teach(self, usage: Usage, error: GatewayError | None) -> None:
        """Let the fleet learn what the model's calls take, and settle with the fair queue."""
        draft, gateway = self._draft, self._gateway
        tries = draft.tries
        if error is None and len(tries) == 1 and tries[0].call == 0 and not tries[0].units:
            gateway.fleet.learn(draft.model, usage.units, waited=bool(draft.dues))
        if draft.dues and (usage.exact or error is None):
            modality = gateway.table.modalities[draft.modality]
            settle_dues(draft, usage.units, modality.weights)


def _reserve_of(plan: Plan) -> Units:
    """What a plan reserves: what it says, else what its calls need that name no other model."""
    if plan.reserve is not None:
        return plan.reserve
    if isinstance(plan.calls, Drawn) or not isinstance(plan.calls, tuple | list):
        raise PluginFault("a plan whose calls are drawn lazily must give its reserve")
    own = [call.size for call in plan.calls if call.model is None]
    units = own[0] if own else NOTHING
    for size in own[1:]:
        units = units + size
    return units
