"""The limits of a snapshot over the levels that all snapshots share.

admit -> (hold)* -> reserve -> (reserve | touch)* -> settle, all synchronous.  Whatever was charged
or held since `admit` is put right by `settle`, which works once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modgate.api.auth import Caller
from modgate.errors import GatewayError, LimitReached, Overloaded, TooLarge
from modgate.limits.admission import Admission, Mark, Part
from modgate.limits.headers import RateView
from modgate.limits.levels import Denied, Limit
from modgate.limits.rates import Met, Rates, Toll
from modgate.limits.state import LimitState, What, give_back
from modgate.units import REQUESTS, UnitTable

BYTES = ("body_bytes", "spool_bytes")
ONE_REQUEST = {REQUESTS: 1}
PLACE = "in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the gateway takes in all, whoever sends it."""

    in_flight: int = 10_000
    streams: int = 5_000
    body_bytes: int = 1 << 30
    spool_bytes: int = 8 << 30


class Limiter:
    """Admits, reserves and settles.  `now` is monotonic, `wall` UTC, both in seconds."""

    def __init__(self, state: LimitState, units: UnitTable, bounds: Bounds) -> None:
        self._state = state
        self._bounds = bounds
        self._rates = Rates(units, state.ms)

    def admit(self, caller: Caller, *, now: float, wall: float) -> Admission:
        """Take a place and charge `requests`; LimitReached, QuotaSpent or Overloaded.

        What must be awaited first leaves the admission as it is: `charge_requests` again.
        """
        terms = self._rates.of(caller, began=now, wall=wall)
        admission = Admission(caller, self._state.new_id(), terms)
        self._take(admission, "in_flight", 1)
        return admission

    def charge_requests(self, admission: Admission, *, now: float) -> None:
        """Charge the request itself; what guards us stays charged whatever follows."""
        place = _place(admission.caller) if self._state.shared else None
        self._charge_met(admission, admission.terms.guards, ONE_REQUEST, now, place)
        admission.requests[REQUESTS] = 1

    def drop(self, admission: Admission) -> None:
        """An admission that came to nothing."""
        admission.settled = True
        self._let_go(admission)

    def check_spent(
        self, admission: Admission, modalities: Iterable[str], *, now: float, look: bool = False
    ) -> None:
        """Refuse before the body is read when no modality of the route has anything left.

        `look`: the body is large enough to ask how shared levels stand.
        """
        terms, at_ms, first = admission.terms, self._state.ms(now), None
        if look:
            tolls = [terms.of_model(modality, "") for modality in modalities]
            self._state.levels.look([met.limit for toll in tolls for met in toll.hard], at_ms)
        for modality in modalities:
            refusal = self._spent(terms.of_model(modality, "").hard, at_ms)
            if refusal is None:
                return
            first = first or refusal
        if first is not None:
            raise first

    def _spent(self, met: Iterable[Met], at_ms: int) -> GatewayError | None:
        for each in met:
            wait_ms = self._state.levels.wait_ms(each.limit, 1, at_ms)
            if wait_ms > 0:
                return self._rates.refusal(each.rate, wait_ms)
        return None

    def hold(self, admission: Admission, what: What, n: int) -> None:
        """Take (or give back) something that is bounded at once, per tenant and in all.

        What was given back already, as by `settle`, is not given back again, and what comes after
        `settle` is not counted: nobody would give it back.  TooLarge when this request alone is
        beyond the bound.
        """
        if n > 0:
            if not admission.settled:
                self._take(admission, what, n)
            return
        state, mine, tenant = self._state, admission.held, admission.caller.tenant
        if given := min(-n, mine.get(what, 0)):
            held = state.tenants[tenant]
            give_back(what, given, (held, state.total, mine))
            if not held:
                del state.tenants[tenant]

    def _take(self, admission: Admission, what: What, n: int) -> None:
        state, tenant, limits = self._state, admission.caller.tenant, admission.caller.policy.limits
        held, total = state.tenants.get(tenant), state.total
        own: int | None = getattr(limits, what)
        if own is not None and n + (held.get(what, 0) if held is not None else 0) > own:
            self._guard_own(admission, what, n, own)
        if total.get(what, 0) + n > getattr(self._bounds, what):
            raise Overloaded("the gateway has its hands full; try again")
        if held is None:
            held = state.tenants[tenant] = {}
        for each in (held, total, admission.held):
            each[what] = each.get(what, 0) + n

    def _guard_own(self, admission: Admission, what: What, n: int, own: int) -> None:
        """Beyond what its tenant may hold: refused, unless that is in shadow."""
        if what in admission.caller.policy.limits.shadow:
            admission.noted(what)
        elif what in BYTES and admission.held.get(what, 0) + n > own:
            raise TooLarge(f"the request needs more than the {own} {what} that you may hold")
        else:
            raise _no_room(own, what)

    def _let_go(self, admission: Admission) -> None:
        """Give back all that it holds."""
        tenant, mine = admission.caller.tenant, admission.held
        if not mine:
            return
        held = self._state.tenants[tenant]
        for what, n in mine.items():
            give_back(what, n, (held, self._state.total))
        mine.clear()
        if not held:
            del self._state.tenants[tenant]

    def reserve(
        self,
        admission: Admission,
        counts: Mapping[str, int],
        *,
        modality: str,
        model: str,
        now: float,
        requests: int = 1,
    ) -> None:
        """Charge every limit on these units of a modality, by full name: all or none.

        `requests`: so many of the modality's, and of the model's, are charged with them; 0 on top
        of what was reserved.
        """
        own = f"{modality}.{REQUESTS}"
        toll = admission.terms.of_model(modality, model)
        if toll.hard or toll.shadow:
            if requests:
                self._guard_unforeseen(toll, counts, now)
            self._charge_met(admission, toll, {**counts, own: requests, REQUESTS: requests}, now)
            admission.tolls.append(toll)
        if requests:
            admission.requests[own] = 1

    def _guard_unforeseen(self, toll: Toll, counts: Mapping[str, int], now: float) -> None:
        """Refuse where a learned unit, of which the plan says nothing, has nothing left."""
        unsaid = [met for met in toll.hard if met.learned and not counts.get(met.rate.unit)]
        if unsaid and (refusal := self._spent(unsaid, self._state.ms(now))) is not None:
            raise refusal

    def _charge_met(
        self,
        admission: Admission,
        toll: Toll,
        counts: Mapping[str, int],
        now: float,
        place: Limit | None = None,
    ) -> None:
        """Charge all of the limits that have a count, or none; a place on top where one is."""
        at_ms = self._state.ms(now)
        names: list[str] = []
        wanted: list[tuple[Limit, int]] = []
        for met in toll.hard:
            rate = met.rate
            if count := counts.get(rate.unit):
                if count > rate.amount:
                    count = self._fitting(met, count, at_ms)
                names.append(rate.unit)
                wanted.append((met.limit, count))
        if place is not None:
            names.append(PLACE)
            wanted.append((place, 1))
        if wanted:
            part = Part((admission.rid, admission.made), names, wanted)
            denied = self._state.levels.reserve(part.rid, wanted, at_ms)
            if denied is not None:
                raise self._refusal(admission, toll, part, denied, at_ms)
            admission.reserved(part)
        if toll.shadow:
            self._charge_shadows(admission, toll.shadow, counts, at_ms)

    def _refusal(
        self, admission: Admission, toll: Toll, part: Part, denied: Denied, at_ms: int
    ) -> GatewayError:
        """By the limit that is full for the longest; what it met is kept for who asks."""
        part.before = [self._state.levels.level(limit, at_ms) for limit, _ in part.wanted]
        admission.refused = (part, denied)
        if part.names[denied.index] == PLACE:
            return _no_room(admission.caller.policy.limits.in_flight or 0, PLACE)
        worst = part.wanted[denied.index][0]
        rate = next(met.rate for met in toll.hard if met.limit is worst)
        return self._rates.refusal(rate, denied.wait_ms)

    def _charge_shadows(
        self, admission: Admission, shadow: Iterable[Met], counts: Mapping[str, int], at_ms: int
    ) -> None:
        """Limits that refuse nothing: what they would have refused is noted."""
        levels = self._state.levels
        for met in shadow:
            if count := counts.get(met.rate.unit):
                if levels.wait_ms(met.limit, count, at_ms) > 0:
                    admission.noted(f"{self._rates.public(met.rate)}/{met.rate.period}")
                levels.charge(met.limit, count, at_ms)
                admission.shadows.append((met.limit, met.rate.unit, count))

    def _fitting(self, met: Met, count: int, at_ms: int) -> int:
        """What to reserve where a request alone may need more than the limit ever has.

        A bound that is learned is rarely reached: a full bucket bends for it, of a window it takes
        what is left, and the rest is debt.  What is known beforehand can never fit: TooLarge, for a
        wait would not help.  Source: algorithms.md 3.1.
        """
        rate, limit = met.rate, met.limit
        if met.learned:
            if limit.kind == "b":
                return count
            return max(1, rate.amount - self._state.levels.level(limit, at_ms))
        most = f"{self._rates.shown(rate)} {self._rates.public(rate)} per {rate.period}"
        raise TooLarge(f"the request needs more than your limit of {most}")

    def touch(self, admission: Admission, used: Mapping[str, int]) -> None:
        """The request lives, and has used so much: what is charged if the gateway dies now."""
        left = admission.used(used)
        for part in admission.parts:
            self._state.levels.touch(part.rid, admission.measured(part, left))

    def take_back(self, admission: Admission, mark: Mark, *, now: float) -> None:
        """Give back what was charged since `mark`, of which nothing was used."""
        levels, at_ms = self._state.levels, self._state.ms(now)
        parts, shadows, _ = mark
        for part in admission.parts[parts:]:
            levels.settle(part.rid, part.wanted, [0] * len(part.wanted), at_ms)
        for limit, _, count in admission.shadows[shadows:]:
            levels.charge(limit, -count, at_ms)
        admission.forget(mark)

    def settle(self, admission: Admission, used: Mapping[str, int] | None, *, now: float) -> None:
        """Put everything right, once.  `used` None: nobody counted, so what was reserved stands."""
        if admission.settled:
            return
        admission.settled = True
        levels, at_ms = self._state.levels, self._state.ms(now)
        if used is None:
            for part in admission.parts:
                levels.settle(part.rid, part.wanted, [count for _, count in part.wanted], at_ms)
        else:
            left = admission.used(used)
            for limit, name, count in admission.shadows:
                levels.charge(limit, left.get(name, 0) - count, at_ms)
            for part in admission.parts:
                levels.settle(part.rid, part.wanted, admission.measured(part, left), at_ms)
            for limit, count in admission.unforeseen(left):
                levels.charge(limit, count, at_ms)
        self._let_go(admission)

    def rates(self, admission: Admission, now: float) -> list[RateView]:
        """Each limit of the caller with what is left of it."""
        at_ms, found = self._state.ms(now), []
        for met in admission.terms.all:
            limit, most = met.limit, met.rate.amount
            used = self._state.levels.level(limit, at_ms)
            reset_ms = 0
            if used:
                if limit.kind == "b":
                    reset_ms, used = -(-used // max(1, most)), -(-used // limit.period_ms)
                else:
                    reset_ms = limit.period_ms - at_ms
            left = most - used if used < most else 0
            found.append(RateView(met.shown, most // met.scale, left // met.scale, reset_ms))
        return found


def _place(caller: Caller) -> Limit | None:
    """What a request takes of the places that all gateways share."""
    limits = caller.policy.limits
    if limits.in_flight is None or PLACE in limits.shadow:
        return None
    return Limit(key=f"{{{caller.tenant}}}:tenant:{PLACE}", kind="c", amount=limits.in_flight)


def _no_room(most: int, what: str) -> GatewayError:
    text = f"the limit of {most} {what.replace('_', ' ')} at once is reached"
    return LimitReached(text, limit=what, unit=what, retry_after_s=1.0)
