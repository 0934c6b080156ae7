"""What the backends cost by the hour, shared out among the ledger's requests.

One pass over rows that come in the order of their ends.  An hour is shared out when no request that
was there in it can come any more; what is kept is the hours that are still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from modgate.api.json import JsonObject
from modgate.ledger.records import Ended
from modgate.money.invoice import Group, Key, Span, group_of, served
from modgate.prices.apportion import HOUR_US, SECOND_US, Stay, share_hour

FINE = 1_000_000  # parts of a modality's weight that count
OPEN_US = 24 * HOUR_US  # a request that takes longer than this is no longer waited for

Weights = Mapping[str, Mapping[str, float]]


@dataclass(slots=True)
class _Hour:
    """Who was on one backend in one hour, and for whose account."""

    stays: list[Stay] = field(default_factory=list)
    groups: dict[str, Key] = field(default_factory=dict)


@dataclass(slots=True)
class Hardware:
    """`costs`: micro-units an hour by backend.  `weights`: by modality, of its units.

    The result: `shares` by group and `idle` by backend; together they are `hours` x the costs.
    `late`: requests that came when their hour was closed, so that others paid for it.
    """

    costs: Mapping[str, int]
    weights: Weights
    by: Sequence[Group]
    span: Span
    shares: dict[Key, int] = field(default_factory=dict)
    idle: dict[str, int] = field(default_factory=dict)
    hours: int = 0
    late: int = 0
    _open: dict[int, dict[str, _Hour]] = field(default_factory=dict)
    _from: int | None = None
    _closed: int | None = None

    def add(self, row: Ended) -> None:
        """A row; TooManyLines is not raised here, for its group is counted elsewhere, too."""
        ended = [each for each in row.attempts if each.get("ended_s") is not None]
        paid = [each for each in ended if each.get("backend") in self.costs]
        if not paid:
            return
        group = group_of(row, self.by)
        for attempt, work in zip(ended, _works(row, ended, self.weights), strict=True):
            if attempt in paid:
                self._stay(str(attempt["backend"]), _stay(row, attempt, work), group)
        self._close_before(_us(row.wall + row.duration_s) - OPEN_US)

    def _stay(self, backend: str, stay: Stay, group: Key) -> None:
        first, last = stay.began_us // HOUR_US, stay.ended_us // HOUR_US
        for number in range(first, last + 1):
            if not self._meant(number):
                continue
            if self._closed is not None and number <= self._closed:
                self.late += 1
                continue
            hours = self._open.setdefault(number, {})
            hour = hours.setdefault(backend, _Hour())
            hour.stays.append(stay)
            hour.groups[stay.id] = group

    def _meant(self, number: int) -> bool:
        return self.span.begin <= number * 3600 < self.span.end

    def _close_before(self, moment_us: int) -> None:
        done = [number for number in self._open if (number + 1) * HOUR_US <= moment_us]
        for number in sorted(done):
            self._close(number)

    def _close(self, number: int) -> None:
        """Share out every backend's hour, and the hours before it in which nobody came."""
        if self._from is None:
            first = min([number, *self._open])
            self._from = int(self.span.begin) // 3600 if self.span.begin else first
            self._closed = self._from - 1
        assert self._closed is not None
        for at in range(self._closed + 1, number + 1):
            hours = self._open.pop(at, {})
            self.hours += 1
            for backend, cost in self.costs.items():
                hour = hours.get(backend, _Hour())
                shared = share_hour(cost, at * HOUR_US, hour.stays)
                for name, share in shared.shares.items():
                    group = hour.groups[name]
                    self.shares[group] = self.shares.get(group, 0) + share
                self.idle[backend] = self.idle.get(backend, 0) + shared.idle
        self._closed = number

    def close(self, now: float) -> None:
        """The last row was given: the hours up to the span's end, or up to `now`, are shared out.

        With no beginning given, the first hour is that of the first stay.
        """
        end = min(self.span.end, now)
        last = -(-int(end) // 3600) - 1
        if self._open or self._from is not None or self.span.begin:
            self._close(max([last, *self._open]))


def _works(row: Ended, attempts: Sequence[JsonObject], weights: Weights) -> list[int]:
    """The request's work, split over the attempts that did it, by how long they took.

    An attempt that failed was there and did nothing, unless all did; one that was cut served.
    """
    whole = 0
    for unit, count in row.units.items():
        modality, _, name = unit.partition(".")
        whole += round(weights.get(modality, {}).get(name, 0.0) * FINE) * count
    good = served(row, attempts)
    if not any(good):
        good = [True] * len(attempts)
    took = [_took_us(each) if did else 0 for each, did in zip(attempts, good, strict=True)]
    total = sum(took)
    return [whole * each // total for each in took]


def _took_us(attempt: JsonObject) -> int:
    return max(1, _us(attempt["ended_s"]) - _us(attempt["began_s"]))


def _stay(row: Ended, attempt: JsonObject, work: int) -> Stay:
    began = _us(row.wall) + _us(attempt["began_s"])
    ended = max(began, _us(row.wall) + _us(attempt["ended_s"]))
    return Stay(id=row.id, began_us=began, ended_us=ended, work=work)


def _us(seconds: float) -> int:
    return round(seconds * SECOND_US)


def shared(hardware: Hardware, rows: Iterable[Ended], now: float) -> Hardware:
    """All rows given, and the last hour shared out."""
    for row in rows:
        hardware.add(row)
    hardware.close(now)
    return hardware
