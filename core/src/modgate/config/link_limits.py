"""Linking the limits of a tenant: units that exist, amounts in whole units, known models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil

from modgate.api.auth import PERIOD_S, Limits, Rate
from modgate.api.model import Model
from modgate.api.price import BUDGET
from modgate.config.guess import did_you_mean
from modgate.config.lines import Path
from modgate.config.mistakes import Mistakes
from modgate.config.schema_tenants import RatesSection, TenantLimits
from modgate.config.values import BudgetText, RateText
from modgate.units import REQUESTS, UnitTable

EXACT = 1 << 53  # levels are integers that a store may keep as doubles


class LimitsLinker:
    """Links `limits` sections; `currency`: of the price books, '' where there are none."""

    def __init__(
        self, units: UnitTable, models: Mapping[str, Model], currency: str, mistakes: Mistakes
    ) -> None:
        self._units = units
        self._models = models
        self._wrong = mistakes.wrong
        self._currency = currency

    def link(self, path: Path, limits: TenantLimits) -> Limits:
        """What a tenant, each of its keys, and it of single models may use."""
        rates = self._rates(path, limits)
        if limits.each_key is not None:
            rates += self.of_keys((*path, "each_key"), limits.each_key)
        for name, section in limits.models.items():
            where = (*path, "models", name)
            if name not in self._models:
                self._wrong(where, f"no [model.{name}]{did_you_mean(name, self._models)}")
            rates += [replace(rate, model=name) for rate in self._rates(where, section)]
        return Limits(
            rates=tuple(rates),
            in_flight=limits.in_flight,
            streams=limits.streams,
            body_bytes=limits.body_bytes,
            spool_bytes=limits.spool_bytes,
            shadow=frozenset(limits.shadow),
        )

    def of_keys(self, path: Path, section: RatesSection) -> list[Rate]:
        """Rates of which every key has a level of its own."""
        return [replace(rate, each_key=True) for rate in self._rates(path, section)]

    def _rates(self, path: Path, limits: TenantLimits | RatesSection) -> list[Rate]:
        rates: list[Rate] = []
        if limits.requests is not None:
            if limits.requests.amount % 1:
                text = 'requests are whole: take a longer period, such as "30/min" for "0.5/s"'
                self._wrong((*path, "requests"), text)
            where, most = (*path, "requests"), ceil(limits.requests.amount)
            rates.append(self._rate(where, REQUESTS, most, limits.requests))
        if limits.cost is not None:
            rates.append(self._budget((*path, "cost"), limits.cost))
        for written in sorted(limits.units, key=lambda each: not each.startswith("*.")):
            where = (*path, "units", written)
            rates += self._unit_rates(where, written, limits.units[written])
        # A unit's own rate takes the place of a star's: two for one period would share a level.
        return list({(rate.unit, rate.period): rate for rate in rates}.values())

    def _budget(self, path: Path, text: BudgetText) -> Rate:
        currency = text.money.currency
        if not self._currency:
            self._wrong(path, "needs prices: add a price book, [price.NAME]")
        elif currency != self._currency:
            self._wrong(path, f"is in {currency}, and the price books are in {self._currency}")
        return self._rate(path, BUDGET, text.money.micro, text)

    def _unit_rates(self, path: Path, written: str, text: RateText) -> Iterable[Rate]:
        known = sorted({self._units.public(full) for full in self._units.units})
        if "." not in written:
            fitting = [name for name in known if name.endswith(f".{written}")] or known
            self._wrong(path, f"say whose: {', '.join(fitting)}, or '*.{written}' for all")
            return
        found = self._units.resolve(written)
        if not found:
            all_of_them = ", ".join(known) or "none, for no enabled plugin brings a modality"
            self._wrong(path, f"unknown unit{did_you_mean(written, known)}; known: {all_of_them}")
        for full in found:
            yield self._rate(path, full, self._units.units[full].inside(text.amount), text)

    def _rate(self, path: Path, unit: str, amount: int, text: RateText | BudgetText) -> Rate:
        """A rate; a bucket's level is in unit x ms, a window's in units, and both are counted."""
        bucket = text.period not in ("day", "month")
        if amount * (PERIOD_S[text.period] * 1000 if bucket else 1) >= EXACT:
            self._wrong(path, "is more than can be counted; take a shorter period")
        return Rate(
            unit=unit,
            amount=amount,
            period=text.period,
            when_down=text.on_store_down,
            shadow=text.shadow,
        )
