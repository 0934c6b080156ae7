"""Marks of lists: which texts begin with one, and what a mark that was read alone stands before.

Lines are kept by the stripes of the page that they reach into, so that a mark is compared with what
is beside it, and with no other line.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from modgate_ocr.boxes import SAME_ROW, Box, Line, around, row_share

MARK_GAP = 1.5  # usual heights between a mark and what follows it
STRIPES_AT_MOST = 32  # usual heights: a line that is taller is no row of a list
LOOKED_AT_MOST = 64  # lines of one stripe, behind one mark
BULLET = re.compile(r"[•●▪◦‣·*\u2013-](?:\s+(?=\S)|$)")
NUMBER = re.compile(r"(?:\d{1,3}|[a-z])[.)](?:\s+(?=\S)|$)")


def is_mark(text: str) -> bool:
    """Whether a text is a mark, and nothing behind it."""
    return len(text) <= 4 and any(mark.fullmatch(text) for mark in (BULLET, NUMBER))


def listed(text: str) -> bool:
    """Whether a text is a mark with something behind it."""
    return any(mark.match(text) is not None for mark in (BULLET, NUMBER)) and not is_mark(text)


def marked(lines: Sequence[Line], usual: float) -> list[Line]:
    """The lines, where a list's mark that was read alone is put in front of what follows it.

    `usual`: the height of a usual line.
    """
    beside = _Beside([line for line in lines if not is_mark(line.text)], usual)
    for line in lines:
        if is_mark(line.text):
            beside.put(line)
    return beside.lines


class _Beside:
    """Lines, and which of them stand in a stripe of the page, from left to right.

    An entry of a stripe is a line's left edge and its place in `lines`; where that line was given a
    mark, it begins elsewhere, and has another entry there.
    """

    def __init__(self, lines: list[Line], usual: float) -> None:
        self.lines = lines
        self._usual = usual
        self._stripes: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
        for at, line in enumerate(lines):
            for stripe in self._reached(line.box):
                self._stripes[stripe].append((line.box.left, at))
        for entries in self._stripes.values():
            entries.sort()

    def put(self, mark: Line) -> None:
        """Put a mark in front of the line that it stands before, or leave it alone."""
        _, at = min((found for found in self._followers(mark)), default=(0.0, len(self.lines)))
        if at == len(self.lines):
            self.lines.append(mark)
        else:
            line = self.lines[at]
            box = around((mark.box, line.box))
            self.lines[at] = replace(line, text=f"{mark.text} {line.text}", box=box)
        box = self.lines[at].box
        for stripe in self._reached(box):
            insort(self._stripes[stripe], (box.left, at))

    def _followers(self, mark: Line) -> list[tuple[float, int]]:
        """Of each stripe that a mark reaches into, the first line behind it in its row."""
        box = mark.box
        farthest = box.left + box.width + MARK_GAP * self._usual
        found = []
        for stripe in self._reached(box):
            entries = self._stripes.get(stripe, [])
            first = bisect_left(entries, (box.left, 0))
            for left, at in entries[first : first + LOOKED_AT_MOST]:
                other = self.lines[at].box
                if left > farthest:
                    break
                if left == other.left and row_share(box, other) > SAME_ROW:
                    found.append((left, at))
                    break
        return found

    def _reached(self, box: Box) -> range:
        first, last = int(box.top // self._usual), int(box.bottom // self._usual)
        return range(first, last + 1) if last - first < STRIPES_AT_MOST else range(0)
