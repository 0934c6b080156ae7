"""Charging requests against the limits of their callers.

The order of calls is: `admit`, `charge_requests`, then `hold`, `reserve` and `touch` as often as it
takes, then `settle`.  All of them are synchronous.  Whatever was charged or held since `admit` is
put right by `settle`, which works once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modgate.api.auth import Caller
from modgate.errors import GatewayError, LimitReached, Overloaded, TooLarge
from modgate.limits.admission import Admission, Aside, Mark, Reservation
from modgate.limits.headers import RateView
from modgate.limits.levels import Denied, Limit
from modgate.limits.rates import MetRate, Rates, Toll
from modgate.limits.state import LimitState, What, give_back
from modgate.units import REQUESTS, UnitTable

BYTES = ("body_bytes", "spool_bytes")
ONE_REQUEST = {REQUESTS: 1}
PLACE = "in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What all requests together may hold at one time, whoever sends them."""

    in_flight: int = 10_000
    streams: int = 5_000
    body_bytes: int = 1 << 30
    spool_bytes: int = 8 << 30


class Limiter:
    """The limits of a snapshot, over the levels that all snapshots share.

    In all methods `now` is monotonic time and `wall` the time of day, both in seconds.  A method
    that charges may raise `Miss` (shared.py): fetch what it lacks, and call it again.
    """

    def __init__(self, state: LimitState, units: UnitTable, bounds: Bounds) -> None:
        self._state = state
        self._bounds = bounds
        self._rates = Rates(units, state.ms)

    def admit(self, caller: Caller, *, now: float, wall: float) -> Admission:
        """Take a place for a request.

        LimitReached when its tenant has as many in flight as it may, Overloaded when all together
        have.  Nothing is charged yet: `charge_requests` does that, and can be called again after a
        Miss.
        """
        terms = self._rates.of(caller, began=now, wall=wall)
        admission = Admission(caller, self._state.new_id(), terms)
        self._take(admission, "in_flight", 1)
        return admission

    def charge_requests(self, admission: Admission, *, now: float) -> None:
        """Charge the request itself, before anything is known of it.

        LimitReached or QuotaSpent.  These limits guard us, so their charge stays whatever follows.
        """
        place = _place(admission.caller) if self._state.shared else None
        self._charge_met(admission, admission.terms.guards, ONE_REQUEST, now, place)
        admission.requests[REQUESTS] = 1

    def drop(self, admission: Admission) -> None:
        """An admission came to nothing: give back what it holds."""
        admission.settled = True
        self._let_go(admission)

    def check_spent(
        self,
        admission: Admission,
        modalities: Iterable[str],
        *,
        now: float,
        model: str = "",
        look: bool = False,
    ) -> None:
        """Refuse before the body is read, when no modality of the route has anything left.

        LimitReached or QuotaSpent, of the first modality.  `model`: if it is known by now.  `look`:
        the body is so large that it is worth asking a shared store first how full the limits are.
        """
        terms, at_ms, first = admission.terms, self._state.ms(now), None
        if look:
            tolls = [terms.of_model(modality, model) for modality in modalities]
            self._state.levels.look([met.limit for toll in tolls for met in toll.hard], at_ms)
        for modality in modalities:
            refusal = self._spent(terms.of_model(modality, model).hard, at_ms)
            if refusal is None:
                return
            first = first or refusal
        if first is not None:
            raise first

    def _spent(self, met: Iterable[MetRate], at_ms: int) -> GatewayError | None:
        for each in met:
            wait_ms = self._state.levels.wait_ms(each.limit, 1, at_ms)
            if wait_ms > 0:
                return self._rates.refusal(each.rate, wait_ms, spent=True)
        return None

    def hold(self, admission: Admission, what: What, n: int) -> None:
        """Take `n` of what is bounded at one time, per tenant and in all; below zero gives back.

        TooLarge when this request alone is beyond its tenant's bound, LimitReached when the
        tenant's requests together are, Overloaded when all requests are.

        What was given back already, as by `settle`, is not given back again, and what comes after
        `settle` is not counted, for nobody would give it back.
        """
        if n > 0:
            if not admission.settled:
                self._take(admission, what, n)
            return
        state, mine, tenant = self._state, admission.held, admission.caller.tenant
        if given := min(-n, mine.get(what, 0)):
            give_back(what, given, (state.tenants[tenant], state.total, mine))

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
        """Refuse what is beyond the tenant's bound `own`; one in shadow only notes it."""
        if what in admission.caller.policy.limits.shadow:
            admission.noted(what)
        elif what in BYTES and admission.held.get(what, 0) + n > own:
            raise TooLarge(f"the request needs more than the {own} {what} that you may hold")
        else:
            raise _no_room(own, what)

    def _let_go(self, admission: Admission) -> None:
        """Give back all that it holds: its place in flight, at least."""
        tenant, mine = admission.caller.tenant, admission.held
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
        """Charge every limit on these units of a modality: all of them or none.

        `counts`: by full name.  `requests`: how many are charged with them, of the modality and of
        the model; 0 where this comes on top of an earlier reservation.

        LimitReached or QuotaSpent; TooLarge when the request alone is beyond a limit.
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

    def reserve_aside(
        self,
        admission: Admission,
        counts: Mapping[str, int],
        *,
        modality: str,
        model: str,
        now: float,
    ) -> Aside:
        """The same as `reserve`, for an aside; whoever knows what that used says it there."""
        aside = Aside(admission.terms.of_model(modality, model))
        self._charge_met(admission, aside.toll, counts, now, aside=aside)
        admission.asides.append(aside)
        return aside

    def _guard_unforeseen(self, toll: Toll, counts: Mapping[str, int], now: float) -> None:
        """Refuse when a unit of which the plan says nothing, because it is learned, is used up."""
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
        aside: Aside | None = None,
    ) -> None:
        """Charge all limits of a toll that have a count, or none.

        `place`: the shared limit of requests in flight, of which one is taken with them.  `aside`:
        the one that it is for.
        """
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
            rid = (admission.rid, admission.made)
            reservation = Reservation(rid, names, wanted, aside=aside)
            denied = self._state.levels.reserve(reservation.rid, wanted, at_ms)
            if denied is not None:
                raise self._refusal(admission, toll, reservation, denied, at_ms)
            admission.reserved(reservation)
        if toll.shadow:
            charged = admission.shadows if aside is None else aside.shadows
            charged += self._charge_shadows(admission, toll.shadow, counts, at_ms)

    def _refusal(
        self, admission: Admission, toll: Toll, reservation: Reservation, denied: Denied, at_ms: int
    ) -> GatewayError:
        """The error of the limit that stays full for the longest.

        The levels that were met are kept, for `modgate explain`.
        """
        reservation.before = [
            self._state.levels.level(limit, at_ms) for limit, _ in reservation.wanted
        ]
        admission.refused = (reservation, denied)
        if reservation.names[denied.index] == PLACE:
            return _no_room(admission.caller.policy.limits.in_flight or 0, PLACE)
        worst = reservation.wanted[denied.index][0]
        rate = next(met.rate for met in toll.hard if met.limit is worst)
        spent = self._state.levels.wait_ms(worst, 1, at_ms) > 0
        return self._rates.refusal(rate, denied.wait_ms, spent=spent)

    def _charge_shadows(
        self, admission: Admission, shadow: Iterable[MetRate], counts: Mapping[str, int], at_ms: int
    ) -> list[tuple[Limit, str, int]]:
        """Charge limits that refuse nothing, and note which of them would have refused.

        The answer is what was charged.
        """
        levels, charged = self._state.levels, []
        for met in shadow:
            if count := counts.get(met.rate.unit):
                if levels.wait_ms(met.limit, count, at_ms) > 0:
                    admission.noted(f"{self._rates.public(met.rate)}/{met.rate.period}")
                levels.charge(met.limit, count, at_ms)
                charged.append((met.limit, met.rate.unit, count))
        return charged

    def _fitting(self, met: MetRate, count: int, at_ms: int) -> int:
        """How much to reserve when a request alone may need more than the limit ever has.

        A learned count is an upper bound that is rarely reached.  So a bucket whose level is 0
        admits it whole, and of a window it takes what is left; what is used beyond that is debt.
        A count that is known beforehand can never fit, and waiting would not help: TooLarge.

        Source: algorithms.md 3.1.
        """
        rate, limit = met.rate, met.limit
        if met.learned:
            if limit.kind == "b":
                return count
            return max(1, rate.amount - self._state.levels.level(limit, at_ms))
        raise TooLarge(f"the request needs more than your limit of {self._rates.most(rate)}")

    def touch(self, admission: Admission, used: Mapping[str, int] | None) -> None:
        """The request lives, and has used so much by unit: its charge if the gateway dies now.

        `used`: None as of `settle`, of asides alone.
        """
        left = admission.own(used)
        for reservation in admission.reservations:
            aside = reservation.aside
            if (left is not None) if aside is None else not aside.asked:
                self._state.levels.touch(reservation.rid, admission.measured(reservation, left))

    def take_back(self, admission: Admission, mark: Mark, *, now: float) -> None:
        """Give back what was charged since `mark`, of which nothing was used."""
        levels, at_ms = self._state.levels, self._state.ms(now)
        reservations, shadows, _, asides = mark
        for reservation in admission.reservations[reservations:]:
            levels.settle(reservation.rid, reservation.wanted, [0] * len(reservation.wanted), at_ms)
        apart = [each for aside in admission.asides[asides:] for each in aside.shadows]
        for limit, _, count in (*admission.shadows[shadows:], *apart):
            levels.charge(limit, -count, at_ms)
        admission.forget(mark)

    def settle(self, admission: Admission, used: Mapping[str, int] | None, *, now: float) -> None:
        """The request has ended: charge what it used, and give back what it holds; once.

        `used`: by unit.  None: nobody counted what its plan used, so what was reserved stands.
        """
        if admission.settled:
            return
        admission.settled = True
        levels, at_ms = self._state.levels, self._state.ms(now)
        left = admission.own(used)
        rest = admission.shadowed(left)
        for reservation in admission.reservations:
            counts = admission.measured(reservation, left)
            levels.settle(reservation.rid, reservation.wanted, counts, at_ms)
        for limit, count in (*rest, *admission.unforeseen(left)):
            levels.charge(limit, count, at_ms)
        self._let_go(admission)

    def rates(self, admission: Admission, now: float) -> list[RateView]:
        """What is left of each limit of the caller, in the order of `admission.terms.all`."""
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
    """The tenant's limit of requests in flight, as one that gateways share; None without one."""
    limits = caller.policy.limits
    if limits.in_flight is None or PLACE in limits.shadow:
        return None
    return Limit(key=f"{{{caller.tenant}}}:tenant:{PLACE}", kind="c", amount=limits.in_flight)


def _no_room(most: int, what: str) -> GatewayError:
    text = f"the limit of {most} {what.replace('_', ' ')} at once is reached"
    return LimitReached(text, limit=what, unit=what, retry_after_s=1.0)
