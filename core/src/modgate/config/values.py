"""Values as operators write them, and as `modgate check` shows them again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from modgate.api.json import Json

PeriodName = Literal["second", "minute", "hour", "day", "month"]

_SECONDS = {
    "us": Decimal("0.000001"), "ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60),
    "min": Decimal(60), "h": Decimal(3600), "d": Decimal(86_400),
}  # fmt: skip
_BYTES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_AMOUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_PERIODS: dict[str, PeriodName] = {
    "s": "second", "second": "second", "min": "minute", "minute": "minute", "h": "hour",
    "hour": "hour", "day": "day", "month": "month",
}  # fmt: skip
_SHOWN_PERIODS = {"second": "s", "minute": "min", "hour": "hour", "day": "day", "month": "month"}
_SHOWN_SECONDS = ("d", "h", "m", "s", "ms", "us")
_SHOWN_BYTES = ("TiB", "GiB", "MiB", "KiB")

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,6})?"
_DURATION_PART = re.compile(rf"({_NUMBER})[ ]?(us|ms|min|s|m|h|d)[ ]?")
_DURATION_TEXT = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_SIZE_TEXT = re.compile(rf"({_NUMBER})[ ]?({'|'.join(_BYTES)})")
_RATE_TEXT = re.compile(rf"({_NUMBER})([kMG]?)[ ]?/[ ]?({'|'.join(_PERIODS)})")

DURATION_AT_MOST_S = 366 * 86_400
SIZE_AT_MOST = 1 << 60
AMOUNT_AT_MOST = 10**15


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is called in the reference, and how it is written.

    It stands in the `Annotated` metadata of a type; pydantic leaves it alone.
    """

    name: str
    show: Callable[[Json], str]


def duration(value: Json) -> float:
    """Seconds of `"30s"`, `"250us"` or `"1h30m"`; ValueError for anything else."""
    text = value.strip() if isinstance(value, str) else ""
    if not _DURATION_TEXT.fullmatch(text):
        raise ValueError('a duration reads "30s", "250ms" or "1h30m"')
    seconds = sum(Decimal(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    if seconds > DURATION_AT_MOST_S:
        raise ValueError("a duration is at most 366 days")
    return float(seconds)


def show_duration(seconds: Json) -> str:
    """`90.0` -> `1m30s`; what `duration` reads, to the microsecond."""
    left = round(Decimal(repr(float(seconds))) * 1_000_000)
    parts = []
    for unit in _SHOWN_SECONDS:
        each = int(_SECONDS[unit] * 1_000_000)
        count, left = divmod(left, each)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def size(value: Json) -> int:
    """Bytes of `"10MiB"`, or of a whole number of them; ValueError for anything else."""
    count: Decimal | None = None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        count = Decimal(value)
    elif isinstance(value, str) and (found := _SIZE_TEXT.fullmatch(value.strip())):
        count = Decimal(found[1]) * _BYTES[found[2]]
    if count is None or count != int(count):
        raise ValueError('a size reads "10MiB", "1GB", or is a whole number of bytes')
    if count > SIZE_AT_MOST:
        raise ValueError("a size is at most 1024 PiB")
    return int(count)


def show_size(count: Json) -> str:
    """`10485760` -> `10MiB`; what `size` reads, exactly."""
    for unit in _SHOWN_BYTES:
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateText:
    """So many of a unit in a period; `amount` is in the unit's shown form, hence no whole number.

    (`0.5` audio seconds are 500 audio ms.)
    """

    amount: Decimal
    period: PeriodName

    def __str__(self) -> str:
        for suffix in ("G", "M", "k"):
            if self.amount % _AMOUNTS[suffix] == 0:
                return f"{self.amount // _AMOUNTS[suffix]:f}{suffix}/{self._per}"
        return f"{self.amount.normalize():f}/{self._per}"

    @property
    def _per(self) -> str:
        return _SHOWN_PERIODS[self.period]


def rate(value: Json) -> RateText:
    """`"50/s"`, `"200k/min"`, `"36000/hour"`; ValueError for anything else."""
    found = _RATE_TEXT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a rate reads "50/s", "200k/min", "36000/hour", "1M/day" or "5M/month"')
    amount = Decimal(found[1]) * _AMOUNTS[found[2]]
    if not 0 < amount <= AMOUNT_AT_MOST:
        raise ValueError("a rate is above 0 and at most 1000000G a period")
    return RateText(amount=amount, period=_PERIODS[found[3]])


def rates(value: Json) -> tuple[RateText, ...]:
    """One rate, or a list of rates with different periods."""
    found = tuple(rate(each) for each in (value if isinstance(value, list) else [value]))
    if len({each.period for each in found}) < len(found):
        raise ValueError("two rates have the same period; keep one")
    return found


def show_rates(found: Json) -> str:
    """The rates as they are written."""
    texts = [f'"{each}"' for each in found]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _text(show: Callable[[Json], str]) -> Callable[[Json], str]:
    return lambda value: f'"{show(value)}"'


def name(value: str) -> str:
    """A name for logs and metrics: tenants, backends, SLO classes."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("a name has 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-'")
    return value


def model_name(value: str) -> str:
    """A name that clients ask for: as `name`, and what engines' own names have."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", value):
        raise ValueError(
            "a model's name has at most 200 of: letters, digits and . _ : / @ + -"
        )
    return value


def _schema(kind: str, *examples: Json) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "examples": list(examples)})


Duration = Annotated[
    float,
    PlainValidator(duration),
    Kind("duration", _text(show_duration)),
    _schema("string", "30s", "250ms", "1h30m"),
]
Wait = Annotated[
    float,
    BeforeValidator(duration),
    Field(gt=0),
    Kind("duration", _text(show_duration)),
    _schema("string", "30s", "250ms", "1h30m"),
]
Bytes = Annotated[
    int,
    BeforeValidator(size),
    Kind("size", _text(show_size)),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["10MiB", "1GB", 4096]}),
]
Rates = Annotated[
    tuple[RateText, ...],
    PlainValidator(rates),
    Kind("rate, or a list of rates", show_rates),
    WithJsonSchema({"type": ["string", "array"], "examples": ["50/s", ["50/s", "1M/day"]]}),
]
Count = Annotated[int, Field(strict=True, ge=1), Kind("whole number", str)]
Share = Annotated[float, Field(strict=True), Kind("number", str)]
Name = Annotated[str, AfterValidator(name)]
ModelKey = Annotated[str, AfterValidator(model_name)]
