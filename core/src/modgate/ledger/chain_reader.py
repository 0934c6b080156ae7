"""Reading one chain with the proof that it is what its writer wrote, and that nothing is missing.

The chain proves what is there.  What is not there any more, a cut tail or a lost directory, only a
witness can tell (witness.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modgate.api.secret import Secret
from modgate.ledger.frames import Frame, Kind, Tampered, Torn
from modgate.ledger.segments import FIRST_CHAIN, frames_of, head_of, note_of, segments


class Broken(Exception):
    """A chain is not what its writer wrote; the message says where."""


class ChainReader:
    """Reads a worker's chain once, from its oldest segment to its newest.

    `first`: segments before that number were moved away on purpose, so they are not missed.  The
    writer may go on meanwhile; where it drops what was to be read next, the reader goes on with
    the oldest segment that is left, as if it began there.

    What was proven so far: `segments` and `frames`, how many; `last`, the newest chain value;
    `writers`, the ids of all who wrote it; `dropped`, how many segments they noted that they
    dropped; `unfinished`, bytes at the end that are being written, or that a crash cut.
    """

    def __init__(self, directory: Path, worker: str, key: Secret, *, first: int = 1) -> None:
        self._directory = directory
        self._worker = worker
        self._key = key
        self._first = first
        self._gone: tuple[int, bytes] | None = None  # a missing segment, and its last chain value
        self._joined = False  # whether the segment before the next one was read
        self.last = FIRST_CHAIN
        self.writers: set[str] = set()
        self.segments = 0
        self.frames = 0
        self.dropped = 0
        self.unfinished = 0

    def read(self) -> Iterator[Frame]:
        """The frames in order, each proven before it is given.

        Broken at the first place that is not as it was written, and at the end where a segment is
        missing that no writer noted.
        """
        paths = segments(self._directory, self._worker)
        while paths:
            number = min(paths)
            path = paths.pop(number)
            try:
                yield from self._segment(number, path)
            except FileNotFoundError:
                paths = segments(self._directory, self._worker)
                paths = {each: paths[each] for each in paths if each > number}
                self._gone, self._joined = (number, b""), False
            except Torn as error:
                if paths:
                    raise _edited(path, error) from None
                self.unfinished = path.stat().st_size - error.offset
            except Tampered as error:
                raise _edited(path, error) from None
        if self._gone is not None:
            raise Broken(f"segment {self._gone[0]} is missing, and the gateway did not drop it")

    def _segment(self, number: int, path: Path) -> Iterator[Frame]:
        header = head_of(path)
        self.writers.add(header.writer)
        self._follow(number, path.name, header.last)
        self.segments += 1
        for _, frame in frames_of(path, self._key):
            self.last = frame.chain
            self.frames += 1
            self._explain(frame)
            yield frame

    def _follow(self, number: int, name: str, last: bytes) -> None:
        """Go on with a segment that begins behind the chain value `last`.

        It must be where the one before ended; or the segment is the first that is left.
        """
        if self._joined:
            if last != self.last:
                raise Broken(f"a segment is missing, or was cut, before {name}")
        elif number == 1 and last != FIRST_CHAIN:
            raise Broken(f"{name} is not how a ledger begins")
        elif number > max(1, self._first):
            self._gone = (number - 1, last)
        else:
            self._gone = None
        self.last, self._joined = last, True

    def _explain(self, frame: Frame) -> None:
        """A note may explain the missing segment: what is dropped is noted, with its last value."""
        note = note_of(frame) if frame.kind is Kind.ANCHOR else None
        if note is not None and note.what == "dropped":
            self.dropped += 1
            if self._gone == (note.segment, note.last):
                self._gone = None


def _edited(path: Path, error: Tampered | Torn) -> Broken:
    return Broken(f"{path.name}: {error}: a byte was edited, or a record removed")
