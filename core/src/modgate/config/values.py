"""Values as operators write them: durations, sizes, rates, targets and secrets."""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.clock import epoch_second

_UNITS_S: dict[str, Fraction | int] = {
    "us": Fraction(1, 10**6), "ms": Fraction(1, 1000), "s": 1,
    "m": 60, "min": 60, "h": 3600, "d": 86_400,
}  # fmt: skip  # rows as they are read
_DURATION_AT_MOST = 36_525 * 86_400.0  # a century; what is added to a clock stays a date
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)"  # longer ones would become infinite
_DURATION = re.compile(rf"{_NUMBER}\s*(us|ms|s|min|m|h|d)")
_BYTES = re.compile(rf"{_NUMBER}\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?")
_BYTE_UNITS = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip  # rows as they are read
_RATE = re.compile(rf"{_NUMBER}([kMG]?)\s*/\s*(s|second|min|minute|h|hour|day|month)")
_MONEY_AMOUNT = r"([0-9]{1,9})(?:\.([0-9]{1,15}))?"
_PRICE = re.compile(rf"{_MONEY_AMOUNT}\s*/\s*(?:([0-9]{{1,9}})([kMG]?))?\s*([a-z_]+)?")
_MONEY = re.compile(rf"{_MONEY_AMOUNT}\s*([A-Z]{{3}})")
_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_PERIODS = {"s": "second", "min": "minute", "h": "hour"}

PeriodName = Literal["second", "minute", "hour", "day", "month"]


def duration(value: Json) -> float:
    """Seconds of `"250us"`, `"1h30m"`, or of a plain number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return _at_most_a_century(value)
    if isinstance(value, str):
        text, total, at = value.strip(), Fraction(), 0
        for found in _DURATION.finditer(text):
            if found.start() != at:
                break
            total += Fraction(found[1]) * _UNITS_S[found[2]]
            at = found.end()
        if at == len(text) and at > 0:
            return _at_most_a_century(total)
    raise ValueError('a duration reads "30s", "250ms" or "1h30m"')


def _at_most_a_century(seconds: float | Fraction) -> float:
    if seconds > _DURATION_AT_MOST:
        raise ValueError("a duration is a century (36525d) at most")
    return float(seconds)


def size(value: Json) -> int:
    """Bytes of `"10MiB"` or of a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a size reads "10MiB", "1GB" or a number of bytes')
    return int(Fraction(found[1]) * _BYTE_UNITS[found[2] or "B"])


class RateText(BaseModel, frozen=True):
    """So many in a period, in the unit's shown form.

    `on_store_down`: what it admits while the shared store does not answer; `shadow`: it is decided
    and recorded, and refuses nothing.
    """

    amount: float
    period: PeriodName
    on_store_down: Literal["local_share", "open", "closed"] = "local_share"
    shadow: bool = False


def rate(value: Json) -> RateText:
    """`"50/s"`, `"200k/min"`, or `{ rate = "50/s", on_store_down = "closed", shadow = true }`."""
    if isinstance(value, RateText):
        return value
    if isinstance(value, dict):
        more = {name: each for name, each in value.items() if name != "rate"}
        if "rate" not in value or more.keys() - {"on_store_down", "shadow"}:
            raise ValueError('a limit\'s table has "rate", "on_store_down" and "shadow"')
        read = rate(value["rate"])
        return RateText.model_validate({**read.model_dump(), **more})
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a rate reads "50/s", "200k/min", "36000/hour", "1M/day" or "5M/month"')
    if float(found[1]) == 0:
        raise ValueError("a rate is above 0; who may not use a model at all is not given it")
    period = _PERIODS.get(found[3], found[3])
    amount = float(Fraction(found[1]) * _AMOUNTS[found[2]])
    return RateText.model_validate({"amount": amount, "period": period})


class PriceText(BaseModel, frozen=True):
    """A price as it is written: `pico` pico-units for `count` of what `noun` names ('' = one)."""

    pico: int
    count: int = 1
    noun: str = ""


def price(value: Json) -> PriceText:
    """`"0.15/1M"`, `"0.36/hour"`, `"0.002/page"`, `"15/1M characters"`, or `"free"`."""
    if isinstance(value, PriceText):
        return value
    if value == "free":
        return PriceText(pico=0)
    found = _PRICE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not (found[3] or found[5]):
        raise ValueError('a price reads "0.15/1M", "0.36/hour", "0.002/page" or "free"')
    count = int(found[3] or 1) * _AMOUNTS[found[4] or ""]
    if count == 0:
        raise ValueError("a price is for at least one unit")
    return PriceText(pico=_decimal(found[1], found[2], 12), count=count, noun=found[5] or "")


def _decimal(whole: str, fraction: str | None, places: int) -> int:
    """A decimal number as whole parts of 10^-places, exactly."""
    fraction = fraction or ""
    if len(fraction) > places:
        raise ValueError(f"an amount of money has at most {places} decimal places")
    return int(whole + fraction.ljust(places, "0"))


class MoneyText(BaseModel, frozen=True):
    """An amount of money, in micro-units of a currency."""

    micro: int
    currency: str


def money(value: Json) -> MoneyText:
    """`"2.50 EUR"`."""
    if isinstance(value, MoneyText):
        return value
    found = _MONEY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('an amount of money reads "2.50 EUR"')
    return MoneyText(micro=_decimal(found[1], found[2], 6), currency=found[3])


class BudgetText(BaseModel, frozen=True):
    """So much money in a period; the rest as with any rate."""

    money: MoneyText
    period: PeriodName
    on_store_down: Literal["local_share", "open", "closed"] = "local_share"
    shadow: bool = False


def budget(value: Json) -> BudgetText:
    """`"100 EUR/month"`, or `{ rate = "100 EUR/month", shadow = true }`."""
    if isinstance(value, BudgetText):
        return value
    text = value.get("rate") if isinstance(value, dict) else value
    amount, found, period = str(text).partition("/")
    try:
        of = rate({**value, "rate": f"1/{period}"} if isinstance(value, dict) else f"1/{period}")
        spent = money(amount.strip())
    except ValueError as error:
        if isinstance(value, dict) and found:
            raise
        raise ValueError('a budget reads "100 EUR/month"') from error
    if spent.micro == 0:
        raise ValueError("a budget is above 0; who may not use a model at all is not given it")
    return BudgetText(
        money=spent, period=of.period, on_store_down=of.on_store_down, shadow=of.shadow
    )


def currency(value: Json) -> str:
    """Three capitals."""
    if isinstance(value, str) and _CURRENCY.fullmatch(value):
        return value
    raise ValueError('a currency is written by its three letters, as "EUR"')


def moment(value: Json) -> int:
    """The epoch second of `2026-03-01`, or of a date with a time; without an offset it is UTC."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return epoch_second(value if isinstance(value, date) else str(value))


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": [example]})


Duration = Annotated[float, BeforeValidator(duration), _schema("30s")]
Wait = Annotated[Duration, Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(size), _schema("10MiB")]
RateValue = Annotated[RateText, BeforeValidator(rate), _schema("50/s")]
PriceValue = Annotated[PriceText, BeforeValidator(price), _schema("0.15/1M")]
MoneyValue = Annotated[MoneyText, BeforeValidator(money), _schema("2.50 EUR")]
BudgetValue = Annotated[BudgetText, BeforeValidator(budget), _schema("100 EUR/month")]
Currency = Annotated[str, BeforeValidator(currency), _schema("EUR")]
Moment = Annotated[int, BeforeValidator(moment), _schema("2026-03-01")]
SecretValue = Secret  # given by reference, like every secret


class TargetText(BaseModel, frozen=True, extra="allow"):
    """A latency: `{ base = "300ms", audio_seconds = "100ms", objective = 0.95 }`."""

    base: Duration = Field(description="the part that does not depend on size")
    objective: float = Field(0.95, gt=0, lt=1, description="the share that keeps it")
