"""What the ledger's rows come to: units and money, by whatever an operator or a tenant asks.

Everything is a stream over rows; what is kept is one line a group, and a bound on these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeVar, get_args

from modgate.api.json import JsonObject
from modgate.api.price import BUDGET
from modgate.ledger.records import Adjusted, Ended
from modgate.prices.books import Books
from modgate.prices.rating import Rated, Tried, Used, rate
from modgate.units import UnitTable

Group = Literal["tenant", "key", "model", "modality", "region", "day"]
GROUPS: tuple[Group, ...] = get_args(Group)
LINES_AT_MOST = 100_000

Key = tuple[str, ...]
Line = TypeVar("Line")
Adjustable = TypeVar("Adjustable", "MoneyLine", "StatementLine")


class TooManyLines(Exception):
    """There are more groups than are counted at once: ask for a shorter time, or for fewer."""

    def __init__(self) -> None:
        super().__init__(f"more than {LINES_AT_MOST} lines; ask for a shorter time or fewer groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Requests that began at `begin` or later and before `end` (epoch seconds)."""

    begin: float = 0.0
    end: float = float("inf")

    @staticmethod
    def of(begin: float | None, end: float | None) -> Span:
        """From what was asked: None is as early, or as late, as there is."""
        return Span(begin=begin or 0.0, end=float("inf") if end is None else end)

    @property
    def hours(self) -> bool:
        """Whether it is of whole hours."""
        return self.begin % 3600 == 0 and (self.end == float("inf") or self.end % 3600 == 0)


def used_of(row: Ended) -> Used:
    """A row as rating wants it."""
    return Used(
        tenant=row.tenant,
        model=row.model,
        modality=row.modality,
        slo=row.slo,
        units=row.units,
        cut_in=row.region,
        tried=[
            Tried(
                region=str(each.get("region", "")),
                model=str(each.get("model", "")),
                served=good,
                side=int(each.get("call", 0)) < 0 or "units" in each,
                units=each.get("units", {}),
            )
            for each, good in zip(row.attempts, served(row, row.attempts), strict=True)
        ],
    )


def served(row: Ended, attempts: Sequence[JsonObject]) -> list[bool]:
    """Of each attempt of a row, whether it served: it is the last of its call, and said something.

    It served also when it was cut then.  Where another model took over it began with the first
    call, and what attempts had said before went to nobody.  The attempts of that call tell that,
    because rows of version 1 in a sink do not.
    """
    last = {each.get("call"): each for each in attempts}
    firsts = [at for at, each in enumerate(attempts) if each.get("call") == 0]
    own = next((at for at in firsts if attempts[at].get("model") == row.model), 0)
    began = own if row.fallback_for or own > min(firsts, default=0) else 0
    return [
        each is last[each.get("call")]
        and (each.get("state") == "ok" or "first_s" in each)
        and (at >= began or int(each.get("call", 0)) < 0)
        for at, each in enumerate(attempts)
    ]


def group_of(row: Ended, by: Sequence[Group]) -> Key:
    """Where a row belongs."""
    return tuple(_member(row, name) for name in by)


def _member(row: Ended, name: Group) -> str:
    match name:
        case "tenant":
            return row.tenant
        case "key":
            return row.key_id
        case "model":
            return row.model
        case "modality":
            return row.modality
        case "region":
            return used_of(row).region
        case "day":
            return _day(row.wall)


@dataclass(slots=True)
class UnitsLine:
    """A sum of one unit: `exact` until some request's count is a floor or an estimate."""

    amount: int = 0
    requests: int = 0
    exact: bool = True


@dataclass(slots=True)
class MoneyLine:
    """A sum of money in micro-units.

    `unpriced`: requests with units that no price was found for, which are not in `micro`;
    `adjusted`: what was put right later.
    """

    requests: int = 0
    micro: int = 0
    unpriced: int = 0
    adjusted: int = 0


def units_by(rows: Iterable[Ended], by: Sequence[Group]) -> dict[Key, UnitsLine]:
    """Units by group and unit, the unit's full name last; TooManyLines."""
    found: dict[Key, UnitsLine] = {}
    for row in rows:
        front = group_of(row, by)
        for unit, count in row.units.items():
            line = _line(found, (*front, unit), UnitsLine)
            line.amount += count
            line.requests += 1
            line.exact = line.exact and row.exact
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Tariff:
    """The price books and what they are about."""

    books: Books = field(default_factory=Books)
    units: UnitTable = field(default_factory=UnitTable)

    def rated(self, row: Ended) -> Rated:
        """One request's lines, by the book in force when it began."""
        return rate(used_of(row), self.books.in_force(row.wall), self.units)

    def corrected(self, row: Ended) -> Rated | None:
        """The same by what took that book's place since; None when nothing did."""
        first = self.books.in_force(row.wall)
        if first is None:
            return None
        last = self.books.corrected(first)
        return None if last is first else rate(used_of(row), last, self.units)


def money_by(rows: Iterable[Ended], by: Sequence[Group], tariff: Tariff) -> dict[Key, MoneyLine]:
    """What requests cost by the books, by group; TooManyLines."""
    found: dict[Key, MoneyLine] = {}
    for row in rows:
        line = _line(found, group_of(row, by), MoneyLine)
        rated = tariff.rated(row)
        line.requests += 1
        line.micro += rated.micro
        line.unpriced += bool(rated.unpriced)
    return dict(sorted(found.items()))


@dataclass(slots=True)
class StatementLine:
    """A tenant's use: what `UnitsLine` and `MoneyLine` say, in one."""

    requests: int = 0
    units: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    micro: int = 0
    unpriced: int = 0
    adjusted: int = 0


def add_adjusted(
    found: dict[Key, Adjustable],
    made: Iterable[Adjusted],
    by: Sequence[Group],
    make: type[Adjustable],
) -> None:
    """Add what was put right later to the lines of the groups that it belongs to; TooManyLines."""
    for each in made:
        _line(found, _group_of_adjusted(each, by), make).adjusted += each.units.get(BUDGET, 0)


def _group_of_adjusted(made: Adjusted, by: Sequence[Group]) -> Key:
    members: dict[Group, str] = {
        "tenant": made.tenant,
        "key": made.key_id,
        "model": made.model,
        "modality": made.modality,
        "region": made.region,
        "day": _day(made.began),
    }
    return tuple(members[name] for name in by)


def _day(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d}"


def stated(rows: Iterable[Ended], by: Sequence[Group], tariff: Tariff) -> dict[Key, StatementLine]:
    """Units and money by group; TooManyLines."""
    found: dict[Key, StatementLine] = {}
    for row in rows:
        line = _line(found, group_of(row, by), StatementLine)
        rated = tariff.rated(row)
        line.requests += 1
        line.exact = line.exact and row.exact
        line.micro += rated.micro
        line.unpriced += bool(rated.unpriced)
        for unit, count in row.units.items():
            line.units[unit] = line.units.get(unit, 0) + count
    return dict(sorted(found.items()))


def _line(found: dict[Key, Line], key: Key, make: type[Line]) -> Line:
    """The group's line, made when it is the first."""
    line = found.get(key)
    if line is None:
        if len(found) >= LINES_AT_MOST:
            raise TooManyLines
        line = found[key] = make()
    return line


def decimal(micro: int) -> str:
    """Micro-units as an amount: `1250000` is `1.250000`."""
    sign, left = ("-", -micro) if micro < 0 else ("", micro)
    return f"{sign}{left // 1_000_000}.{left % 1_000_000:06}"


def shown_units(units: Mapping[str, int], table: UnitTable) -> dict[str, str]:
    """Counts as they are shown outside: `asr.audio_seconds` = `12.345`."""
    return {
        table.public(name): table.units[name].outside(count) if name in table.units else str(count)
        for name, count in units.items()
    }
