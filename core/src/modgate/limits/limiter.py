"""The limits of a snapshot over the levels that all snapshots share.

admit -> (hold)* -> reserve -> (top_up | touch)* -> settle, all synchronous.  Whatever was charged
or held since `admit` is put right by `settle`, which works once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from modgate.api.auth import PERIOD_S, Caller, Rate
from modgate.errors import GatewayError, LimitReached, Overloaded, QuotaSpent, TooLarge
from modgate.limits.headers import RateView
from modgate.limits.levels import Levels, Limit
from modgate.limits.state import Held, LimitState
from modgate.units import REQUESTS, Units, UnitTable

What = Literal["in_flight", "streams", "body_bytes", "spool_bytes"]
BYTES = ("body_bytes", "spool_bytes")

TTL_MS = 30_000
CLEARS_S = 120.0  # what takes longer is a spent quota, not a limit to wait for


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
    settled: bool = False


class Limiter:
    """Admits, reserves and settles.  `now` is monotonic, `wall` UTC, both in seconds."""

    def __init__(self, state: LimitState, units: UnitTable, bounds: Bounds) -> None:
        self._state = state
        self._units = units
        self._bounds = bounds
        self._buckets: dict[tuple[str, Rate], Limit] = {}  # both maps: by tenants of the snapshot
        self._rates: dict[tuple[str, str], list[Rate]] = {}

    def admit(self, caller: Caller, *, now: float, wall: float) -> Admission:
        """Charge `requests` and take a place; LimitReached, QuotaSpent or Overloaded."""
        admission = Admission(caller, self._state.new_id(), wall, now)
        self.hold(admission, "in_flight", 1)
        rates = [rate for rate in caller.policy.limits.rates if rate.unit == REQUESTS]
        limits = [self._limit(admission, rate) for rate in rates]
        for rate, limit in zip(rates, limits, strict=True):
            wait_ms = self._levels.wait_ms(limit, 1, _ms(now))
            if wait_ms > 0:
                self.hold(admission, "in_flight", -1)
                admission.settled = True
                raise self._refusal(rate, wait_ms)
        for limit in limits:
            self._levels.charge(limit, 1, _ms(now))
        return admission

    @property
    def _levels(self) -> Levels:
        return self._state.levels

    def _limit(self, admission: Admission, rate: Rate) -> Limit:
        """A rate as a limit.

        Its identity leaves the amount out, so a changed one keeps its level.  A window's end is put
        in monotonic time: levels of all kinds lie in one store, which must see one clock.
        """
        at = (admission.caller.tenant, rate)
        if (known := self._buckets.get(at)) is not None:
            return known
        key = f"{{{admission.caller.tenant}}}:tenant:{rate.unit}:{rate.period}"
        if rate.period in ("day", "month"):
            begin, end = window(rate.period, admission.wall)
            ends_ms = _ms(admission.began + end - admission.wall)
            return Limit(key=f"{key}:{begin}", kind="w", amount=rate.amount, period_ms=ends_ms)
        period_ms = PERIOD_S[rate.period] * 1000
        made = Limit(key=key, kind="b", amount=rate.amount, period_ms=period_ms, burst=rate.amount)
        self._buckets[at] = made
        return made

    def _refusal(self, rate: Rate, wait_ms: int) -> GatewayError:
        shown = self._public(rate)
        short = shown.rpartition(".")[2]
        if wait_ms > CLEARS_S * 1000:
            text = f"the quota of {self._shown(rate)} {shown} per {rate.period} is spent"
            return QuotaSpent(text)
        text = (
            f"Rate limit reached for {short} per {rate.period}: limit {self._shown(rate)}. "
            f"Please try again in {wait_ms / 1000:.3f}s."
        )
        limit = f"{shown}/{rate.period}"
        return LimitReached(text, limit=limit, unit=short, retry_after_s=wait_ms / 1000)

    def _public(self, rate: Rate) -> str:
        """The shown name: `asr.audio_seconds`, or plain `requests`."""
        return rate.unit if rate.unit == REQUESTS else self._units.public(rate.unit)

    def _shown(self, rate: Rate) -> str:
        unit = self._units.units.get(rate.unit)
        return unit.outside(rate.amount) if unit is not None else str(rate.amount)

    def _unit_rates(self, caller: Caller, modality: str) -> list[Rate]:
        """The caller's rates on units of a modality."""
        known = self._rates.get((caller.tenant, modality))
        if known is None:
            known = self._rates[caller.tenant, modality] = self._tightest(caller, modality)
        return known

    @staticmethod
    def _tightest(caller: Caller, modality: str) -> list[Rate]:
        front = f"{modality}."
        tightest: dict[tuple[str, str], Rate] = {}  # two on one unit and period are one level
        for rate in caller.policy.limits.rates:
            at = (rate.unit, rate.period)
            if rate.unit.startswith(front) and (
                at not in tightest or rate.amount < tightest[at].amount
            ):
                tightest[at] = rate
        return list(tightest.values())

    def check_spent(self, admission: Admission, modalities: Sequence[str], *, now: float) -> None:
        """Refuse before the body is read when no modality of the route has anything left."""
        refusals: list[GatewayError] = []
        for modality in modalities:
            refusal = self._spent(admission, modality, now)
            if refusal is None:
                return
            refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def _spent(self, admission: Admission, modality: str, now: float) -> GatewayError | None:
        for rate in self._unit_rates(admission.caller, modality):
            wait_ms = self._levels.wait_ms(self._limit(admission, rate), 1, _ms(now))
            if wait_ms > 0:
                return self._refusal(rate, wait_ms)
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
                text = f"the limit of {own} {what.replace('_', ' ')} at once is reached"
                raise LimitReached(text, limit=what, unit=what, retry_after_s=1.0)
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

    def reserve(
        self,
        admission: Admission,
        units: Units,
        *,
        model: str,
        learned: frozenset[str],
        now: float,
    ) -> None:
        """Charge every limit on these units, all or none."""
        del model, learned  # scopes and averages come with the limits in native units
        self._charge(admission, Units({**units, REQUESTS: 1}, modality=units.modality), now)

    def top_up(self, admission: Admission, more: Units, *, now: float) -> None:
        """Charge on top of what was reserved."""
        self._charge(admission, more, now)

    def _charge(self, admission: Admission, units: Units, now: float) -> None:
        counts = units.full()
        rates = [
            rate
            for rate in self._unit_rates(admission.caller, units.modality)
            if counts.get(rate.unit)
        ]
        self._charge_rates(admission, rates, counts, now)
        for name, count in counts.items():
            admission.reserved[name] = admission.reserved.get(name, 0) + count

    def _charge_rates(
        self, admission: Admission, rates: list[Rate], counts: Mapping[str, int], now: float
    ) -> None:
        if not rates:
            return
        limits = [self._limit(admission, rate) for rate in rates]
        wanted = [
            self._fitting(rate, limit, counts[rate.unit], now)
            for rate, limit in zip(rates, limits, strict=True)
        ]
        rid = f"{admission.rid}-{len(admission.parts)}"
        denied = self._levels.reserve(rid, list(zip(limits, wanted, strict=True)), _ms(now), TTL_MS)
        if denied is not None:
            raise self._refusal(rates[denied.index], denied.wait_ms)
        admission.parts.append((rid, limits, [rate.unit for rate in rates], wanted))

    def _fitting(self, rate: Rate, limit: Limit, count: int, now: float) -> int:
        """What to reserve of a window, which unlike a bucket has no burst that bends.

        A bound that is learned takes what is left and the rest as debt; TooLarge for what can never
        fit.
        """
        if limit.kind == "b" or count <= rate.amount:
            return count
        unit = self._units.units.get(rate.unit)
        if unit is not None and unit.learned:
            return max(1, rate.amount - self._levels.level(limit, _ms(now)))
        most = f"{self._shown(rate)} {self._public(rate)} per {rate.period}"
        raise TooLarge(f"the request needs more than your limit of {most}")

    def touch(self, admission: Admission, used: Mapping[str, int], *, now: float) -> None:
        """The request lives, and has used so much."""
        for rid, _, names, _ in admission.parts:
            self._levels.touch(rid, [used.get(name, 0) for name in names], _ms(now), TTL_MS)

    def settle(self, admission: Admission, used: Mapping[str, int] | None, *, now: float) -> None:
        """Put everything right, once.  `used` None: nobody counted, so what was reserved stands."""
        if admission.settled:
            return
        admission.settled = True
        if used is not None:
            left = {**used, **self._own_request(admission)}
            self._settle_counted(admission, left, now)
        else:
            for rid, _, _, wanted in admission.parts:
                self._levels.settle(rid, wanted, _ms(now))
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
            self._levels.settle(rid, [shares[name] for name in names], _ms(now))
        for modality in {name.partition(".")[0] for name in left}:
            for rate in self._unit_rates(admission.caller, modality):
                if left.get(rate.unit) and rate.unit not in last:
                    self._levels.charge(self._limit(admission, rate), left[rate.unit], _ms(now))

    def rates(self, admission: Admission, now: float) -> list[RateView]:
        """Each limit of the caller with what is left of it."""
        views = []
        for rate in admission.caller.policy.limits.rates:
            limit, at_ms = self._limit(admission, rate), _ms(now)
            level = self._levels.level(limit, at_ms)
            used = -(-level // limit.period_ms) if limit.kind == "b" else level
            reset_ms = (
                -(-level // max(1, rate.amount)) if limit.kind == "b" else limit.period_ms - at_ms
            )
            unit = self._units.units.get(rate.unit)
            scale = unit.scale if unit is not None else 1
            views.append(
                RateView(
                    unit=self._public(rate).rpartition(".")[2],
                    limit=rate.amount // scale,
                    remaining=max(0, rate.amount - used) // scale,
                    reset_s=reset_ms / 1000 if level else 0.0,
                )
            )
        return views


def _is_requests(name: str) -> bool:
    return name.rpartition(".")[2] == REQUESTS


def _ms(now: float) -> int:
    return int(now * 1000)


def window(period: str, wall: float) -> tuple[str, float]:
    """The calendar window (UTC) that a moment lies in.

    Its id, and the epoch second when it ends.
    """
    at = datetime.fromtimestamp(wall, UTC)
    if period == "day":
        begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
        return begin.strftime("%Y-%m-%d"), (begin + timedelta(days=1)).timestamp()
    begin = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return begin.strftime("%Y-%m"), (begin + timedelta(days=32)).replace(day=1).timestamp()
