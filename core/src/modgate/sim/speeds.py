"""How fast engines are, as their receipts show.

An engine's time for a call is a line in the call's work: so many seconds, and so many a unit.  Of a
modality whose prompts are read one after the other the first event shows the reading, without the
wait for the prompts before it, and the rest the writing; of any other the whole is one.  What
several calls at once cost each other is one number, `crowd`.

What the line does not explain of a call is its own luck: it keeps that wherever it is replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

CROWDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0)
TINY_S = 1e-6
SHORT = 0.5  # of the usual time: what is shorter weighs no more than this
LUCK_AT_MOST = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Seconds of a call that is alone."""

    base_s: float = 0.0
    each_s: float = 0.0

    def seconds(self, units: float) -> float:
        """Of so many units."""
        return max(TINY_S, self.base_s + self.each_s * units)

    def faster(self, times: float) -> Line:
        """The same at another speed."""
        return Line(base_s=self.base_s / times, each_s=self.each_s / times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One engine's for one modality.

    `reads`: prompts, one after the other; None = it was not seen to.  `writes`: the rest of such a
    call by what it writes, `whole`: all of a call by its work.  `crowd`: what one more call at once
    costs each, as a share.  `first`: the part of a whole call until its first event.
    """

    reads: Line | None = None
    writes: Line | None = None
    whole: Line | None = None
    crowd: float = 0.0
    first: float = 1.0

    def faster(self, times: float) -> Speed:
        """The same engine at another speed."""
        return replace(
            self,
            reads=self.reads.faster(times) if self.reads else None,
            writes=self.writes.faster(times) if self.writes else None,
            whole=self.whole.faster(times) if self.whole else None,
        )


@dataclass(slots=True, kw_only=True)
class Sample:
    """A call that was answered.  Epoch seconds; `read`, `written`: units, `work`: of all of it.

    `streams`: its first event came before its end.  `beside`: calls at once at its engine, on
    average, itself among them.
    """

    began: float
    first: float
    ended: float
    read: float
    written: float
    work: float
    streams: bool
    beside: float = 1.0
    alone_s: float = field(init=False, default=0.0)  # of reading, without the wait


def fitted(points: Sequence[tuple[float, float]]) -> Line:
    """The line with the least squares of relative errors; neither of its parts is below 0.

    `points`: units and seconds.  A few calls that took far longer than the rest, or hardly any time
    at all, bend it little.
    """
    usual = SHORT * median(seconds for _, seconds in points)
    weighed = [(u, t, 1 / max(TINY_S, usual, t) ** 2) for u, t in points]
    one = sum(w for _, _, w in weighed)
    units = sum(w * u for u, _, w in weighed)
    squares = sum(w * u * u for u, _, w in weighed)
    times = sum(w * t for _, t, w in weighed)
    products = sum(w * u * t for u, t, w in weighed)
    spread = one * squares - units * units
    if spread > 1e-9 * one * squares:
        base = (squares * times - units * products) / spread
        each = (one * products - units * times) / spread
        if base >= 0 and each >= 0:
            return Line(base_s=base, each_s=each)
        if base < 0:
            return Line(each_s=max(0.0, products / squares))
    return Line(base_s=max(0.0, times / one))


def wrong_by(line: Line, points: Sequence[tuple[float, float]]) -> float:
    """The sum of the squares of a line's relative errors, which `fitted` makes least."""
    usual = SHORT * median(seconds for _, seconds in points)
    return sum(((line.seconds(u) - t) / max(TINY_S, usual, t)) ** 2 for u, t in points)


def crowded(points: Sequence[tuple[float, float, float]]) -> tuple[Line, float]:
    """The line and the crowd by which units, seconds and calls at once fit best."""
    best: tuple[float, Line, float] | None = None
    for crowd in CROWDS:
        alone = [(u, t / (1 + crowd * (beside - 1))) for u, t, beside in points]
        line = fitted(alone)
        wrong = wrong_by(line, alone)
        if best is None or wrong < best[0] * 0.999:
            best = (wrong, line, crowd)
    assert best is not None
    return best[1], best[2]


def count_beside(samples: Sequence[Sample]) -> None:
    """Say of each how many were at once at its engine while it was there."""
    edges = sorted(
        [(each.began, 1, at) for at, each in enumerate(samples)]
        + [(each.ended, 0, at) for at, each in enumerate(samples)]
    )
    there, since, area = 0, 0.0, 0.0
    began: dict[int, float] = {}
    for when, enters, at in edges:
        area += there * (when - since)
        since = when
        if enters:
            there += 1
            began[at] = area
        else:
            there -= 1
            each = samples[at]
            lasted = each.ended - each.began
            mean = (area - began.get(at, area)) / lasted if lasted > 0 else 1.0
            each.beside = max(1.0, mean)


def unqueue(samples: Sequence[Sample]) -> None:
    """Of calls whose prompts were read one after the other: what each one's own reading took."""
    free = float("-inf")
    for each in sorted((s for s in samples if s.streams), key=lambda sample: sample.first):
        each.alone_s = max(0.0, each.first - max(each.began, free))
        free = each.first


def speed_of(samples: Sequence[Sample], *, serial: bool) -> Speed:
    """What these calls of one engine and modality show; at least one."""
    count_beside(samples)
    streams = [each for each in samples if each.streams]
    if serial and streams:
        unqueue(samples)
        reads = fitted([(s.read, s.alone_s) for s in streams if s.alone_s > TINY_S] or [(0.0, 0.0)])
        writes, crowd = crowded([(s.written, s.ended - s.first, s.beside) for s in streams])
        return Speed(reads=reads, writes=writes, crowd=crowd)
    whole, crowd = crowded([(s.work, s.ended - s.began, s.beside) for s in samples])
    shares = sorted((s.first - s.began) / (s.ended - s.began) for s in streams if s.ended > s.began)
    first = shares[len(shares) // 2] if shares else 1.0
    return Speed(whole=whole, crowd=crowd, first=min(1.0, max(0.0, first)))


def luck_of(sample: Sample, speed: Speed) -> tuple[float, float]:
    """What a call took of what it should have, reading and the rest."""
    slower = 1 + speed.crowd * (sample.beside - 1)
    took = sample.ended - sample.began
    if speed.reads is not None and speed.writes is not None:
        reading, writing = speed.reads.seconds(sample.read), speed.writes.seconds(sample.written)
        if sample.streams:
            read = sample.alone_s / reading
            rest = (sample.ended - sample.first) / slower / writing
        else:
            read = rest = took / (reading + writing * slower)
    else:
        assert speed.whole is not None, "it has one or the other"
        read, rest = 1.0, took / slower / speed.whole.seconds(sample.work)
    return min(LUCK_AT_MOST, read), min(LUCK_AT_MOST, rest)
