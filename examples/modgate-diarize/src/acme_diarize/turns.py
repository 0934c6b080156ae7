"""From labelled windows to turns: who spoke from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Window = Sequence[int]  # start and end, in samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One speaker's stretch of speech, in samples."""

    start: int
    end: int
    speaker: int


def turns(regions: Sequence[Sequence[Window]], labels: Sequence[int], join: int) -> list[Turn]:
    """The turns in order.  A pause shorter than `join` samples does not end one."""
    found: list[Turn] = []
    at = 0
    for region in regions:
        for turn in _of_region(region, labels[at : at + len(region)]):
            last = found[-1] if found else None
            if last and last.speaker == turn.speaker and turn.start - last.end < join:
                found[-1] = Turn(start=last.start, end=turn.end, speaker=turn.speaker)
            else:
                found.append(turn)
        at += len(region)
    return found


def _of_region(region: Sequence[Window], labels: Sequence[int]) -> list[Turn]:
    """A stretch of speech: it changes hands half-way between the middles of two windows."""
    made: list[Turn] = []
    start = region[0][0]
    for here, there, label, after in zip(region, region[1:], labels, labels[1:], strict=False):
        if label != after:
            seam = (sum(here) + sum(there)) // 4
            made.append(Turn(start=start, end=seam, speaker=label))
            start = seam
    return [*made, Turn(start=start, end=region[-1][1], speaker=labels[-1])]
