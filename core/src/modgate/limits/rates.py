"""A caller's rates as limits: which ones a request meets, by what name they are kept, and what is
said when one is reached."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from modgate.api.auth import PERIOD_S, Caller, Rate
from modgate.errors import GatewayError, LimitReached, QuotaSpent
from modgate.limits.levels import Limit
from modgate.units import REQUESTS, UnitTable

CLEARS_S = 120.0  # what takes longer is a spent quota, not a limit to wait for


class Rates:
    """The rates of a snapshot.  `ms`: monotonic seconds as milliseconds of the levels' clock."""

    def __init__(self, units: UnitTable, ms: Callable[[float], int]) -> None:
        self._units = units
        self._ms = ms
        # Both maps: by tenants, keys and models of the snapshot.
        self._buckets: dict[tuple[str, str, Rate], Limit] = {}
        self._known: dict[tuple[str, str, str], list[Rate]] = {}

    def limit(self, caller: Caller, rate: Rate, *, began: float, wall: float) -> Limit:
        """A rate as a limit; `began` and `wall` are one moment, by which windows are told.

        Its identity leaves the amount out, so a changed one keeps its level.  A window's end is put
        in the levels' own time.
        """
        at = (caller.tenant, caller.key_id if rate.each_key else "", rate)
        if (known := self._buckets.get(at)) is not None:
            return known
        scope = f"key:{caller.key_id}" if rate.each_key else "tenant"
        if rate.model:
            scope += f":model:{rate.model}"
        key = f"{{{caller.tenant}}}:{scope}:{rate.unit}:{rate.period}"
        if rate.period in ("day", "month"):
            begin, end = window(rate.period, wall)
            return Limit(
                key=f"{key}:{begin}",
                kind="w",
                amount=rate.amount,
                period_ms=self._ms(began + end - wall),
                when_down=rate.when_down,
            )
        made = Limit(
            key=key,
            kind="b",
            amount=rate.amount,
            period_ms=PERIOD_S[rate.period] * 1000,
            burst=rate.amount,
            when_down=rate.when_down,
        )
        self._buckets[at] = made
        return made

    def refusal(self, rate: Rate, wait_ms: int) -> GatewayError:
        """Why a request is refused that this limit has no room for."""
        shown = self.public(rate)
        short = shown.rpartition(".")[2]
        if wait_ms > CLEARS_S * 1000:
            text = f"the quota of {self.shown(rate)} {shown} per {rate.period} is spent"
            return QuotaSpent(text)
        text = (
            f"Rate limit reached for {short} per {rate.period}: limit {self.shown(rate)}. "
            f"Please try again in {wait_ms / 1000:.3f}s."
        )
        limit = f"{shown}/{rate.period}"
        return LimitReached(text, limit=limit, unit=short, retry_after_s=wait_ms / 1000)

    def public(self, rate: Rate) -> str:
        """The shown name: `asr.audio_seconds`, or plain `requests`."""
        return rate.unit if rate.unit == REQUESTS else self._units.public(rate.unit)

    def shown(self, rate: Rate) -> str:
        """The amount in the unit's shown form."""
        unit = self._units.units.get(rate.unit)
        return unit.outside(rate.amount) if unit is not None else str(rate.amount)

    def of_model(self, caller: Caller, modality: str, model: str) -> list[Rate]:
        """The caller's rates on units of a modality, and on the requests of a model."""
        known = self._known.get((caller.tenant, modality, model))
        if known is None:
            known = self._tightest(caller, modality, model)
            self._known[caller.tenant, modality, model] = known
        return known

    @staticmethod
    def _tightest(caller: Caller, modality: str, model: str) -> list[Rate]:
        front = f"{modality}."
        tightest: dict[tuple[object, ...], Rate] = {}  # two on one unit and period are one level
        for rate in caller.policy.limits.rates:
            at = (rate.unit, rate.period, rate.each_key, rate.model, rate.shadow)
            fits = rate.unit.startswith(front) or (rate.unit == REQUESTS and rate.model)
            mine = fits and rate.model in ("", model)
            if mine and (at not in tightest or rate.amount < tightest[at].amount):
                tightest[at] = rate
        return list(tightest.values())


def guards(rate: Rate) -> bool:
    """Whether it is charged before anything is known of the request."""
    return rate.unit == REQUESTS and not rate.model


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
