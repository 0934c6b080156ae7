"""The limits of a snapshot over the levels that all snapshots share.

admit -> (hold)* -> reserve -> (top_up | touch)* -> settle, all synchronous.  Whatever was charged
or held since `admit` is put right by `settle`, which works once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from modgate.api.auth import Caller, Rate
from modgate.errors import GatewayError, LimitReached, Overloaded, TooLarge
from modgate.limits.headers import RateView
from modgate.limits.levels import Account, Limit
from modgate.limits.rates import Rates, guards
from modgate.limits.state import Held, LimitState
from modgate.limits.store import tag_of
from modgate.units import REQUESTS, Units, UnitTable

What = Literal["in_flight", "streams", "body_bytes", "spool_bytes"]
BYTES = ("body_bytes", "spool_bytes")

PLACE = "in_flight"
TTL_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the gateway takes in all, whoever sends it."""

    in_flight: int = 10_000
    streams: int = 5_000
    body_bytes: int = 1 << 30
    spool_bytes: int = 8 << 30


@dataclass(slots=True, eq=False)
class Admission:
    """A request that was admitted: what it holds and what was reserved for it.

    `began` (monotonic) and `wall` are the same moment: windows are told by it.
    """

    caller: Caller
    rid: str
    wall: float
    began: float
    held: Held = field(default_factory=Held)
    reserved: dict[str, int] = field(default_factory=dict)
    parts: list[tuple[str, list[Limit], list[str], list[int]]] = field(default_factory=list)
    shadows: list[tuple[Limit, str, int]] = field(default_factory=list)
    would_refuse: list[str] = field(default_factory=list)
    settled: bool = False


class Limiter:
    """Admits, reserves and settles.  `now` is monotonic, `wall` UTC, both in seconds."""

    def __init__(self, state: LimitState, units: UnitTable, bounds: Bounds) -> None:
        self._state = state
        self._units = units
        self._bounds = bounds
        self._rates = Rates(units, state.ms)

    def admit(self, caller: Caller, *, now: float, wall: float) -> Admission:
        """Take a place and charge `requests`; LimitReached, QuotaSpent or Overloaded.

        What must be awaited first leaves the admission as it is: `charge_requests` again.
        """
        admission = Admission(caller, self._state.new_id(), wall, now)
        self.hold(admission, "in_flight", 1)
        return admission

    def charge_requests(self, admission: Admission, *, now: float) -> None:
        """Charge the request itself; what guards us stays charged whatever follows."""
        rates = [rate for rate in admission.caller.policy.limits.rates if guards(rate)]
        in_flight = admission.caller.policy.limits.in_flight
        place = None
        if in_flight is not None and self._state.shared:
            key = f"{{{admission.caller.tenant}}}:tenant:{PLACE}"
            place = Limit(key=key, kind="c", amount=in_flight)
        self._charge_rates(admission, rates, {REQUESTS: 1}, now, place)
        admission.reserved[REQUESTS] = 1

    def drop(self, admission: Admission) -> None:
        """An admission that came to nothing."""
        admission.settled = True
        self.hold(admission, "in_flight", -1)

    @property
    def _levels(self) -> Account:
        return self._state.levels

    def _limit(self, admission: Admission, rate: Rate) -> Limit:
        return self._rates.limit(admission.caller, rate, began=admission.began, wall=admission.wall)

    @staticmethod
    def _no_place(caller: Caller) -> GatewayError:
        return _no_room(caller.policy.limits.in_flight or 0, PLACE)

    def check_spent(
        self, admission: Admission, modalities: Sequence[str], *, now: float, look: bool = False
    ) -> None:
        """Refuse before the body is read when no modality of the route has anything left.

        `look`: the body is large enough to ask how shared levels stand.
        """
        refusals: list[GatewayError] = []
        if look:
            found = [
                self._limit(admission, rate)
                for modality in modalities
                for rate in self._rates.of_model(admission.caller, modality, "")
                if not rate.shadow
            ]
            self._levels.look(found, self._state.ms(now))
        for modality in modalities:
            refusal = self._spent(admission, modality, now)
            if refusal is None:
                return
            refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def _spent(self, admission: Admission, modality: str, now: float) -> GatewayError | None:
        for rate in self._rates.of_model(admission.caller, modality, ""):
            if rate.shadow:
                continue
            wait_ms = self._levels.wait_ms(self._limit(admission, rate), 1, self._state.ms(now))
            if wait_ms > 0:
                return self._rates.refusal(rate, wait_ms)
        return None

    def hold(self, admission: Admission, what: What, n: int) -> None:
        """Take (or give back) something that is bounded at once, per tenant and in all.

        What was given back already, as by `settle`, is not given back again, and what comes after
        `settle` is not counted: nobody would give it back.  TooLarge when this request alone is
        beyond the bound.
        """
        if n > 0 and admission.settled:
            return
        n = max(n, -admission.held.get(what))
        tenant = admission.caller.tenant
        held = self._state.tenants.setdefault(tenant, Held())
        if n > 0:
            own = getattr(admission.caller.policy.limits, what)
            if own is not None and held.get(what) + n > own:
                self._prune(tenant)
                if what in BYTES and admission.held.get(what) + n > own:
                    raise TooLarge(
                        f"the request needs more than the {own} {what} that you may hold"
                    )
                raise _no_room(own, what)
            most = getattr(self._bounds, what)
            if self._state.total.get(what) + n > most:
                self._prune(tenant)
                raise Overloaded("the gateway has its hands full; try again")
        for each in (held, self._state.total, admission.held):
            each.add(what, n)
        self._prune(tenant)

    def _prune(self, tenant: str) -> None:
        if self._state.tenants[tenant].empty:
            del self._state.tenants[tenant]

    def reserve(self, admission: Admission, units: Units, *, model: str, now: float) -> None:
        """Charge every limit on these units, all or none."""
        self._charge(admission, Units({**units, REQUESTS: 1}, modality=units.modality), model, now)

    def top_up(self, admission: Admission, more: Units, *, model: str, now: float) -> None:
        """Charge on top of what was reserved."""
        self._charge(admission, more, model, now)

    def _charge(self, admission: Admission, units: Units, model: str, now: float) -> None:
        counts = units.full()
        asked = {**counts, REQUESTS: units.get(REQUESTS, 0)}
        rates = [
            rate
            for rate in self._rates.of_model(admission.caller, units.modality, model)
            if asked.get(rate.unit)
        ]
        self._charge_rates(admission, rates, asked, now)
        for name, count in counts.items():
            admission.reserved[name] = admission.reserved.get(name, 0) + count

    def _charge_rates(
        self,
        admission: Admission,
        rates: Sequence[Rate],
        counts: Mapping[str, int],
        now: float,
        place: Limit | None = None,
    ) -> None:
        hard = [rate for rate in rates if not rate.shadow]
        limits = [self._limit(admission, rate) for rate in hard]
        wanted = [
            self._fitting(rate, limit, counts[rate.unit], now)
            for rate, limit in zip(hard, limits, strict=True)
        ]
        names = [rate.unit for rate in hard]
        if place is not None:
            limits, wanted, names = [*limits, place], [*wanted, 1], [*names, PLACE]
        if limits:
            rid = f"{admission.rid}-{len(admission.parts)}"
            denied = self._levels.reserve(
                f"{tag_of(limits[0])}{rid}",
                list(zip(limits, wanted, strict=True)),
                self._state.ms(now),
                TTL_MS,
            )
            if denied is not None and denied.index == len(hard):
                raise self._no_place(admission.caller)
            if denied is not None:
                raise self._rates.refusal(hard[denied.index], denied.wait_ms)
            admission.parts.append((f"{tag_of(limits[0])}{rid}", limits, names, wanted))
        self._charge_shadows(admission, [rate for rate in rates if rate.shadow], counts, now)

    def _charge_shadows(
        self, admission: Admission, rates: Sequence[Rate], counts: Mapping[str, int], now: float
    ) -> None:
        """Limits that refuse nothing: what they would have refused is noted."""
        for rate in rates:
            limit, count = self._limit(admission, rate), counts[rate.unit]
            if self._levels.wait_ms(limit, count, self._state.ms(now)) > 0:
                admission.would_refuse.append(f"{self._rates.public(rate)}/{rate.period}")
            self._levels.charge(limit, count, self._state.ms(now))
            admission.shadows.append((limit, rate.unit, count))

    def _fitting(self, rate: Rate, limit: Limit, count: int, now: float) -> int:
        """What to reserve where a request alone may need more than the limit ever has.

        A bound that is learned is rarely reached: a full bucket bends for it, of a window it takes
        what is left, and the rest is debt.  What is known beforehand can never fit: TooLarge, for a
        wait would not help.  Source: algorithms.md 3.1.
        """
        if count <= rate.amount:
            return count
        unit = self._units.units.get(rate.unit)
        if unit is not None and unit.learned:
            if limit.kind == "b":
                return count
            return max(1, rate.amount - self._levels.level(limit, self._state.ms(now)))
        most = f"{self._rates.shown(rate)} {self._rates.public(rate)} per {rate.period}"
        raise TooLarge(f"the request needs more than your limit of {most}")

    def touch(self, admission: Admission, used: Mapping[str, int], *, now: float) -> None:
        """The request lives, and has used so much."""
        for rid, _, names, _ in admission.parts:
            self._levels.touch(
                rid, [used.get(name, 0) for name in names], self._state.ms(now), TTL_MS
            )

    def settle(self, admission: Admission, used: Mapping[str, int] | None, *, now: float) -> None:
        """Put everything right, once.  `used` None: nobody counted, so what was reserved stands."""
        if admission.settled:
            return
        admission.settled = True
        at_ms = self._state.ms(now)
        if used is not None:
            left = {**used, **self._own_request(admission)}
            for limit, name, count in admission.shadows:
                self._levels.charge(limit, left.get(name, 0) - count, at_ms)
            self._settle_counted(admission, left, now)
        else:
            for rid, _, _, wanted in admission.parts:
                self._levels.settle(rid, wanted, at_ms)
        for rid, *_ in admission.parts:
            self._levels.forget(rid)
        for what in ("in_flight", "streams", "body_bytes", "spool_bytes"):
            if (n := admission.held.get(what)) != 0:
                self.hold(admission, what, -n)

    @staticmethod
    def _own_request(admission: Admission) -> dict[str, int]:
        """The request itself, in the modalities that it was reserved in."""
        return {name: count for name, count in admission.reserved.items() if _is_requests(name)}

    def _settle_counted(self, admission: Admission, left: dict[str, int], now: float) -> None:
        """Spread what was used over the parts.

        The last one of a unit takes the rest, even as debt.
        """
        last = {name: rid for rid, _, names, _ in admission.parts for name in names}
        for rid, _, names, wanted in admission.parts:
            shares = dict.fromkeys(names, 0)  # a unit may have several limits: each is charged all
            for name, count in zip(names, wanted, strict=True):
                most = left.get(name, 0)
                shares[name] = most if last[name] == rid else max(shares[name], min(count, most))
            for name, share in shares.items():
                left[name] = left.get(name, 0) - share
            self._levels.settle(rid, [shares[name] for name in names], self._state.ms(now))
        for modality in {name.partition(".")[0] for name in left}:
            for rate in self._rates.of_model(admission.caller, modality, ""):
                if left.get(rate.unit) and rate.unit not in last and not rate.shadow:
                    self._levels.charge(
                        self._limit(admission, rate), left[rate.unit], self._state.ms(now)
                    )

    def rates(self, admission: Admission, now: float) -> list[RateView]:
        """Each limit of the caller with what is left of it."""
        views = []
        for rate in admission.caller.policy.limits.rates:
            limit, at_ms = self._limit(admission, rate), self._state.ms(now)
            level = self._levels.level(limit, at_ms)
            used = -(-level // limit.period_ms) if limit.kind == "b" else level
            reset_ms = (
                -(-level // max(1, rate.amount)) if limit.kind == "b" else limit.period_ms - at_ms
            )
            unit = self._units.units.get(rate.unit)
            scale = unit.scale if unit is not None else 1
            views.append(
                RateView(
                    unit=self._rates.public(rate).rpartition(".")[2],
                    limit=rate.amount // scale,
                    remaining=max(0, rate.amount - used) // scale,
                    reset_s=reset_ms / 1000 if level else 0.0,
                )
            )
        return views


def _is_requests(name: str) -> bool:
    return name.rpartition(".")[2] == REQUESTS


def _no_room(most: int, what: str) -> GatewayError:
    text = f"the limit of {most} {what.replace('_', ' ')} at once is reached"
    return LimitReached(text, limit=what, unit=what, retry_after_s=1.0)
