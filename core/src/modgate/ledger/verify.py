"""Proving that a ledger is what its writers wrote: every byte, every segment, nothing cut off.

The chain proves what is there.  What is not there any more, a cut tail or a lost directory, only a
witness can tell (witness.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modgate.api.secret import Secret
from modgate.ledger.frames import Frame, Kind, SegmentHeader, Tampered, Torn
from modgate.ledger.identity import CORRECTIONS, name_of
from modgate.ledger.records import kind_of
from modgate.ledger.segments import FIRST_CHAIN, frames_of, head_of, note_of, segments, workers
from modgate.ledger.tail import chain_at
from modgate.ledger.witness import Witness


@dataclass(slots=True, eq=False)
class Report:
    """What was found.

    `chains`, `segments`, `frames`: how many were read.
    `dropped`: how many segments the gateway wrote down that it dropped.
    `unfinished`: bytes at the end that are being written, or that a crash cut and no start has
    removed yet.
    `seen`: how many witnesses told of writers that are here.
    `elsewhere`: the writers of other gateways, which a shared sink knows, too.
    `problems`: sentences to read.  None: the ledger is whole, as far as the witnesses go.
    """

    chains: int = 0
    segments: int = 0
    frames: int = 0
    dropped: int = 0
    unfinished: int = 0
    seen: int = 0
    elsewhere: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def verify(
    directory: Path, key: Secret, witnesses: Sequence[Witness] = (), *, first: int = 1
) -> Report:
    """Read every frame of every chain, and compare with what the witnesses saw.

    `first`: segments before that number were moved away on purpose, so they are not missed.
    """
    report = Report()
    names: dict[str, str] = {}
    for worker in workers(directory):
        chain = _Chain(directory, worker, key, report, first)
        chain.read()
        names |= dict.fromkeys(chain.writers, worker)
    for witness in witnesses:
        _compare(directory, witness, names, report)
    return report


class _Chain:
    """The proof of one worker's chain, segment by segment.

    `writers`: the ids of all who wrote it, as its segments name them.
    """

    def __init__(
        self, directory: Path, worker: str, key: Secret, report: Report, first: int
    ) -> None:
        self._paths = segments(directory, worker)
        self._key = key
        self._report = report
        self._first = first
        self._last = FIRST_CHAIN
        self._gone: tuple[int, bytes] | None = None  # a missing segment, and its last chain value
        self.writers: set[str] = set()

    def read(self) -> None:
        """Read to the end, or to the first place that is not as it was written."""
        self._report.chains += 1
        number, path = 0, Path()
        try:
            for number, path in self._paths.items():
                if not self._segment(number, path):
                    return
        except (Tampered, Torn) as error:
            if isinstance(error, Torn) and number == max(self._paths):
                self._report.unfinished += path.stat().st_size - error.offset
            else:
                self._wrong(f"{path.name}: {error}: a byte was edited, or a record removed")
                return
        if self._gone is not None:
            self._wrong(f"segment {self._gone[0]} is missing, and the gateway did not drop it")

    def _segment(self, number: int, path: Path) -> bool:
        header = head_of(path)
        self.writers.add(header.writer)
        if not self._follows(number, path, header):
            return False
        self._last = header.last
        self._report.segments += 1
        for _, each in frames_of(path, self._key):
            if kind_of(each.payload) is not each.kind:
                raise Tampered(each.end)
            self._last = each.chain
            self._report.frames += 1
            self._explain(each)
        return True

    def _follows(self, number: int, path: Path, header: SegmentHeader) -> bool:
        """Whether a segment begins where the one before ended, or may be the first that is left."""
        if number != min(self._paths):
            if header.last != self._last:
                self._wrong(f"a segment is missing, or was cut, before {path.name}")
                return False
        elif number == 1 and header.last != FIRST_CHAIN:
            self._wrong(f"{path.name} is not how a ledger begins")
            return False
        elif number > max(1, self._first):
            self._gone = (number - 1, header.last)
        return True

    def _explain(self, frame: Frame) -> None:
        """A note may explain the missing segment: what is dropped is noted, with its last value."""
        note = note_of(frame) if frame.kind is Kind.ANCHOR else None
        if note is not None and note.what == "dropped":
            self._report.dropped += 1
            if self._gone == (note.segment, note.last):
                self._gone = None

    def _wrong(self, text: str) -> None:
        self._report.problems.append(text)


def _compare(directory: Path, witness: Witness, names: dict[str, str], report: Report) -> None:
    """Compare the directory with what one witness saw of one writer."""
    seen = witness.cursor
    where = f"{witness.name} saw segment {seen.segment} of {seen.writer} up to byte {seen.offset}"
    worker = names.get(seen.writer)
    if worker is None:
        own = {name_of(each) for each in names}
        own |= {f"{name}-{CORRECTIONS}" for name in own}
        if name_of(seen.writer) in own or not names:
            report.problems.append(f"{where}: none of that writer's segments is here")
        else:
            report.elsewhere.append(seen.writer)
        return
    report.seen += 1
    if seen.segment < min(segments(directory, worker)):
        return
    if chain_at(directory, worker, seen.segment, seen.offset) != seen.last:
        report.problems.append(f"{where}: it does not end there with that head: the end was cut")
