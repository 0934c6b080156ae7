"""A caller's rates as limits.

Here is decided which limits a request meets, which key each is kept under, and what a client is
told when one is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf

from modgate.api.auth import PERIOD_S, Caller, Limits, Rate
from modgate.api.price import BUDGET, MONEY
from modgate.errors import GatewayError, LimitReached, QuotaSpent
from modgate.limits.levels import Limit
from modgate.units import REQUESTS, Unit, UnitTable

KNOWN_AT_MOST = 20_000  # keys
WINDOW_KNOWN_S = 60.0  # a wall clock that was set is noticed by then
UNKNOWN = Unit("", "no unit of an enabled modality")
CLEARS_S = 120.0  # what takes longer is a spent quota, not a limit to wait for


@dataclass(frozen=True, slots=True)
class MetRate:
    """A rate that a request meets, and the limit that it is at that moment.

    `shown`: the short name of its unit, as headers say it.  `scale`: how many of our whole units
    make one of those.  `learned`: nobody knows beforehand how much of the unit a request needs.
    """

    rate: Rate
    limit: Limit
    shown: str
    scale: int
    learned: bool


class Toll:
    """The limits that are charged at one time: `hard` ones refuse, those in `shadow` only count."""

    __slots__ = ("hard", "shadow")

    def __init__(self, met: Iterable[MetRate]) -> None:
        met = tuple(met)
        self.hard = tuple([each for each in met if not each.rate.shadow])
        self.shadow = tuple([each for each in met if each.rate.shadow])

    def __contains__(self, met: MetRate) -> bool:
        return any(each is met for each in (*self.hard, *self.shadow))


class CallerRates:
    """All rates of one caller, sorted by what they are charged for.

    They serve all requests of a key as long as `limits` is the caller's, and while the time of day
    is not before `begin` and is before `end`.

    `all`: every rate, in the order of the configuration.
    `guards`: what is charged before anything is known of a request.
    `units`: the limits on units of any modality, whatever the model.
    """

    __slots__ = ("_by_model", "_told", "all", "begin", "end", "guards", "limits", "units")

    def __init__(self, limits: Limits, met: Sequence[MetRate], begin: float, end: float) -> None:
        self.limits = limits
        self.begin = begin
        self.end = end
        self._by_model: dict[tuple[str, str], Toll] = {}
        self._told: dict[tuple[tuple[str, ...], str], Sequence[int]] = {}
        self.all = met
        self.guards = Toll(each for each in met if guards(each.rate))
        self.units = Toll(_tightest(met, "", ""))

    def of_model(self, modality: str, model: str) -> Toll:
        """The limits on units of a modality, and on the requests of a configured model."""
        found = self._by_model.get((modality, model))
        if found is None:
            found = Toll(_tightest(self.all, f"{modality}.", model))
            self._by_model[modality, model] = found
        return found

    def told(self, modalities: tuple[str, ...], model: str) -> Sequence[int]:
        """Indices into `all` of what reply headers tell: limits that can refuse such a request."""
        found = self._told.get((modalities, model))
        if found is None:
            tolls = [self.of_model(each, model) for each in (*modalities, MONEY)]
            mine = [met for toll in (self.guards, *tolls) for met in toll.hard]
            found = [at for at, met in enumerate(self.all) if any(each is met for each in mine)]
            self._told[modalities, model] = found
        return found


class Rates:
    """The rates of a snapshot.  `ms`: turns monotonic seconds into the levels' milliseconds."""

    def __init__(self, units: UnitTable, ms: Callable[[float], int]) -> None:
        self._units = units
        self._ms = ms
        self._known: dict[tuple[str, str], CallerRates] = {}

    def of(self, caller: Caller, *, began: float, wall: float) -> CallerRates:
        """A caller's terms.

        `began`, `wall`: one moment, in monotonic seconds and as the time of day; it decides which
        calendar window a request is in.
        """
        at, limits = (caller.tenant, caller.key_id), caller.policy.limits
        known = self._known.get(at)
        if known is not None and known.limits is limits and known.begin <= wall < known.end:
            return known
        if len(self._known) >= KNOWN_AT_MOST:
            self._known.clear()
        begin, end, met = -inf, inf, []
        for rate in limits.rates:
            if rate.period in ("day", "month"):
                begin, end = wall, min(end, window(rate.period, wall)[1], wall + WINDOW_KNOWN_S)
            limit = self._limit(caller, rate, began=began, wall=wall)
            unit = self._units.units.get(rate.unit, UNKNOWN)
            shown = self.public(rate).rpartition(".")[2]
            met.append(MetRate(rate, limit, shown, unit.scale, unit.learned))
        made = self._known[at] = CallerRates(limits, met, begin, end)
        return made

    def _limit(self, caller: Caller, rate: Rate, *, began: float, wall: float) -> Limit:
        """A rate as a limit.

        The key does not say the amount, so a limit that is changed keeps its level.  The end of a
        window is converted into the levels' own time.
        """
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
        return Limit(
            key=key,
            kind="b",
            amount=rate.amount,
            period_ms=PERIOD_S[rate.period] * 1000,
            burst=rate.amount,
            when_down=rate.when_down,
        )

    def refusal(self, rate: Rate, wait_ms: int, *, spent: bool) -> GatewayError:
        """The error for a request that a limit has no room for; LimitReached, or QuotaSpent.

        `spent`: nothing is left; else a smaller request may have room.
        """
        shown = self.public(rate)
        short = shown.rpartition(".")[2]
        if wait_ms > CLEARS_S * 1000:
            quota = f"the quota of {self.most(rate)}"
            little = f"too little of {quota} is left for this request"
            return QuotaSpent(f"{quota} is spent" if spent else little)
        text = (
            f"Rate limit reached for {short} per {rate.period}: limit {self._amount(rate)}. "
            f"Please try again in {wait_ms / 1000:.3f}s."
        )
        limit = f"{shown}/{rate.period}"
        return LimitReached(text, limit=limit, unit=short, retry_after_s=wait_ms / 1000)

    def public(self, rate: Rate) -> str:
        """The name of a rate's unit that clients see: `asr.audio_seconds`, or plain `requests`."""
        return self._units.public(rate.unit)

    def most(self, rate: Rate) -> str:
        """All that a rate allows: `36000 asr.audio_seconds per hour`, or `100 EUR per month`."""
        of = "" if rate.unit == BUDGET else f" {self.public(rate)}"
        return f"{self._amount(rate)}{of} per {rate.period}"

    def _amount(self, rate: Rate) -> str:
        """The amount of a rate, in the form that clients see; of money with its currency."""
        unit = self._units.units.get(rate.unit)
        amount = unit.outside(rate.amount) if unit is not None else str(rate.amount)
        return f"{amount} {self._units.currency}" if rate.unit == BUDGET else amount


def _tightest(met: Iterable[MetRate], front: str, model: str) -> Sequence[MetRate]:
    """The rates on units whose names begin with `front`, and on `requests` only those of a model.

    Where two share a level, because unit and period are the same, the lower amount stands.
    """
    tightest: dict[tuple[object, ...], MetRate] = {}  # two on one unit and period are one level
    for each in met:
        rate = each.rate
        at = (rate.unit, rate.period, rate.each_key, rate.model, rate.shadow)
        fits = rate.model if rate.unit == REQUESTS else rate.unit.startswith(front)
        mine = fits and rate.model in ("", model)
        if mine and (at not in tightest or rate.amount < tightest[at].rate.amount):
            tightest[at] = each
    return list(tightest.values())


def counts_requests(unit: str) -> bool:
    """Whether a unit is requests, of all modalities or of one."""
    return unit.rpartition(".")[2] == REQUESTS


def guards(rate: Rate) -> bool:
    """Whether a rate is charged before anything is known of the request."""
    return rate.unit == REQUESTS and not rate.model


def window(period: str, wall: float) -> tuple[str, float]:
    """The calendar day or month, in UTC, that a moment lies in.

    The answer is its id (`2026-03-01`, `2026-03`) and the epoch second at which it ends.
    """
    at = datetime.fromtimestamp(wall, UTC)
    if period == "day":
        begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
        return begin.strftime("%Y-%m-%d"), (begin + timedelta(days=1)).timestamp()
    begin = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return begin.strftime("%Y-%m"), (begin + timedelta(days=32)).replace(day=1).timestamp()
