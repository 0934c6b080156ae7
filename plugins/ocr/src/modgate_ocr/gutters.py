"""Which parts of a page stand side by side: bands of lines, and the gutters that run through them.

A *band* is a stripe of the page in which lines overlap from top to bottom; a *gutter* is an upright
strip that no line of several neighbouring bands crosses, with lines on both sides.  A page is cut
along its longest gutter first; what stands above, below and in each column is cut again.  Cutting
across first, as the plain XY-cut does, would read two columns whose paragraphs end at one height
line by line.

Source: G. Nagy, S. Seth, Hierarchical representation of optically scanned documents, 1984 (XY-cut);
T. Breuel, Two geometric algorithms for layout analysis, 2002 (gutters before lines).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Generic, Protocol, TypeVar

from modgate_ocr.boxes import Box, around

GUTTER = 0.8  # of a usual line's height
TOUCHING = 0.15  # of a line's height: boxes of neighbouring rows overlap by so much
ALONE_GAP = 2.0  # usual heights: across a wider gap a band with one side does not belong
LIKE = 0.7  # a gutter that shares so much of the longest one's bands cuts the same part
# Bands that all gutters of a region run through, for each of its lines: in a table that is full it
# is one.  With more of them it is no page that people read, and it is not cut.
FOLLOWED_AT_MOST = 16
INFINITE = float("inf")
_left = attrgetter("left")


class Placed(Protocol):
    """What has a place on the page."""

    @property
    def box(self) -> Box:
        """Where it is."""
        ...


Item = TypeVar("Item", bound=Placed)
Strip = tuple[float, float]


@dataclass(slots=True)
class Gutter:
    """A strip from top to bottom that some bands leave free.

    `left`, `right`: its edges.  `first`, `last`: the numbers of those bands.  `both`: how many of
    them have lines on both sides of it.
    """

    left: float
    right: float
    first: int
    last: int
    both: int = 0

    @property
    def length(self) -> int:
        """How many bands it runs through."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside(Generic[Item]):
    """Columns that stand side by side, from left to right."""

    columns: tuple[tuple[Item, ...], ...]


def bands(items: Sequence[Item]) -> list[list[Item]]:
    """The bands from top to bottom; none overlaps another."""
    made: list[list[Item]] = []
    bottom = -INFINITE
    for item in sorted(items, key=_top):
        if not made or _top(item) >= bottom:
            made.append([])
        made[-1].append(item)
        bottom = max(bottom, item.box.bottom - TOUCHING * item.box.height)
    return made


def _top(item: Placed) -> float:
    return item.box.top + TOUCHING * item.box.height


def cut(items: Sequence[Item], usual: float) -> list[Beside[Item] | list[Item]]:
    """The parts of a region, from top to bottom: columns side by side, or a band of lines.

    `usual`: the height of a usual line.
    """
    stripes = bands(items)
    parts: list[Beside[Item] | list[Item]] = []
    at = 0
    for first, last, found in _longest(stripes, usual):
        parts += stripes[at:first]
        inside = [item for stripe in stripes[first : last + 1] for item in stripe]
        parts.append(_columns(inside, found))
        at = last + 1
    return parts + stripes[at:]


def _columns(items: Sequence[Item], gutters: Sequence[Gutter]) -> Beside[Item]:
    """The columns between gutters; a line is in the one where it begins, even if it goes on."""
    edges = sorted((each.left + each.right) / 2 for each in gutters)
    columns: list[list[Item]] = [[] for _ in range(len(edges) + 1)]
    for item in items:
        columns[bisect_right(edges, item.box.left)].append(item)
    return Beside(columns=tuple(tuple(column) for column in columns if column))


def _longest(
    stripes: Sequence[Sequence[Item]], usual: float
) -> list[tuple[int, int, list[Gutter]]]:
    """Runs of bands with the gutters that cut them, in order; none overlaps another."""
    firsts: list[int] = []
    runs: list[list[Gutter]] = []  # by their first bands; the longest gutter of each is the first
    for gutter in sorted(_gutters(stripes, usual), key=_rank):
        at = bisect_right(firsts, gutter.last)
        # Each is as long as this one at least, so no more than two reach into it.
        touched = [run for run in runs[max(0, at - 2) : at] if run[0].last >= gutter.first]
        if not touched:
            firsts.insert(at, gutter.first)
            runs.insert(at, [gutter])
        elif _alike(gutter, (run := min(touched, key=lambda run: _rank(run[0])))[0]):
            run.append(gutter)
    return [(run[0].first, run[0].last, run) for run in runs]


def _rank(gutter: Gutter) -> tuple[int, float]:
    """By this the longest comes first."""
    return (-gutter.length, gutter.left)


def _alike(one: Gutter, best: Gutter) -> bool:
    shared = min(one.last, best.last) - max(one.first, best.first) + 1
    return shared >= LIKE * best.length


@dataclass(frozen=True, slots=True)
class _Bands:
    """What is known of the bands of a region, from top to bottom.

    `free`: the strips that each leaves free and that are wide enough, from far left to far right.
    `spans`: the box around each.  `gaps`: the heights between them.
    """

    free: Sequence[Sequence[Strip]]
    spans: Sequence[Box]
    gaps: Sequence[float]

    @staticmethod
    def of(stripes: Sequence[Sequence[Item]], width: float) -> _Bands:
        """The bands that hold these lines; `width`: that a gutter has at least."""
        spans = [around(item.box for item in stripe) for stripe in stripes]
        gaps = [below.top - above.bottom for above, below in pairwise(spans)]
        return _Bands([_free(stripe, width) for stripe in stripes], spans, gaps)


def _gutters(stripes: Sequence[Sequence[Item]], usual: float) -> list[Gutter]:
    """All gutters, each as long as it goes; one that has a single line beside it is none.

    Where they would be too many, there is none.
    """
    region = _Bands.of(stripes, GUTTER * usual)
    room = FOLLOWED_AT_MOST * sum(map(len, stripes))
    found: list[Gutter] = []
    # Those that run through the band.  Each lies in one of its free strips, beside the others.
    here: list[Gutter] = []
    for at, strips in enumerate(region.free):
        here = [each for each in here if each.last >= at]
        fresh = [
            Gutter(*s, at, at, _sides(stripes[at])) for s in strips[1:-1] if not _runs(here, s)
        ]
        for gutter in fresh:
            _grow(gutter, region, usual)
            room -= gutter.length
            if room < 0:
                return []
        found += fresh
        here = sorted([*here, *fresh], key=_left)
    return [each for each in found if each.both >= 2]


def _sides(stripe: Sequence[Item]) -> int:
    """For how many rows a band counts: one of many lines, which are not aligned, for two."""
    return 1 if len(stripe) < 4 else 2


def _runs(gutters: Sequence[Gutter], strip: Strip) -> bool:
    """Whether one of a band's gutters, from left to right, goes through this strip of it."""
    at = bisect_left(gutters, strip[0], key=_left)
    return at < len(gutters) and gutters[at].right <= strip[1]


def _free(stripe: Sequence[Item], width: float) -> list[Strip]:
    """The strips that a band leaves free, from far left to far right, of this width at least."""
    strips: list[Strip] = []
    edge = -INFINITE
    for item in sorted(stripe, key=lambda each: each.box.left):
        if item.box.left - edge >= width:
            strips.append((edge, item.box.left))
        edge = max(edge, item.box.right)
    return [*strips, (edge, INFINITE)]


def _grow(gutter: Gutter, region: _Bands, usual: float) -> None:
    """Let a gutter grow up and down, until a line crosses it, or a lone line is far away.

    It becomes as narrow as its narrowest place.  `usual`: the height of a usual line.
    """
    for step in (-1, 1):
        at = gutter.last if step > 0 else gutter.first
        while 0 <= (at := at + step) < len(region.free):
            strip = _narrowed(gutter, region.free[at], GUTTER * usual)
            if strip is None:
                break
            span = region.spans[at]
            beside = span.left < strip[0] and span.right > strip[1]
            if not beside and region.gaps[min(at, at - step)] > ALONE_GAP * usual:
                break
            gutter.left, gutter.right = strip
            gutter.both += beside
            gutter.first, gutter.last = min(gutter.first, at), max(gutter.last, at)


def _narrowed(gutter: Gutter, strips: Sequence[Strip], width: float) -> Strip | None:
    """The widest part of a gutter that a band leaves free; None when it is too narrow."""
    first = bisect_right(strips, gutter.left, key=itemgetter(0)) - 1
    last = bisect_left(strips, gutter.right, key=itemgetter(0))
    shared = [
        (max(gutter.left, left), min(gutter.right, right)) for left, right in strips[first:last]
    ]
    best = max(shared, key=lambda strip: strip[1] - strip[0])
    return best if best[1] - best[0] >= width else None
