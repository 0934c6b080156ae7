"""Reading the whole ledger back: a row for each request, and the corrections that came later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import pairwise
from pathlib import Path

import msgspec

from modgate.api.secret import Secret
from modgate.ledger.frames import Frame, Kind, SegmentHeader, Tampered, Torn
from modgate.ledger.records import Adjusted, Ended
from modgate.ledger.segments import begun_at, frames_of, head_of, segments, workers

NOTHING: Mapping[str, int] = {}


def rows(
    directory: Path,
    key: Secret | None = None,
    *,
    since: float = 0.0,
    known: Mapping[str, int] = NOTHING,
    passing_over: bool = False,
) -> Iterator[Ended]:
    """Every ended request, of all workers, in the order of the ends.

    `key`: proves the chains on the way, with Tampered where one is broken; None reads unproven.
    `since`: a time of day.  Segments that were last written before it are not read, so that
    requests which ended before it may be left out, or not.
    `known`: of each writer the segments before this number need not be read, either.
    `passing_over`: a segment that is dropped meanwhile is as if it had never been here; else
    FileNotFoundError, for what was in it may be somewhere else by now.

    Reading stops at a torn tail of a newest segment, which is being written or was cut by a crash.
    """
    ends = [_rows_of(paths, key, passing_over) for paths in _chains(directory, since, known)]
    yield from merge(*ends, key=lambda row: row.wall + row.duration_s)


def adjustments(
    directory: Path, key: Secret | None = None, *, since: float = 0.0
) -> Iterator[Adjusted]:
    """Every correction of a bill, in the order of their making; all else is as of `rows`."""
    made = [_adjustments_of(paths, key) for paths in _chains(directory, since)]
    yield from merge(*made, key=lambda each: each.wall)


def _chains(
    directory: Path, since: float, known: Mapping[str, int] = NOTHING
) -> Iterator[Sequence[Path]]:
    for worker in workers(directory):
        found = segments(directory, worker)
        paths = list(found.values())
        first = 0
        for number, (path, following) in zip(found, pairwise(paths), strict=False):
            try:
                if not (_known(path, number, max(found), known) or _older(path, following, since)):
                    break
            except FileNotFoundError:  # whoever reads it finds that out, too
                break
            first += 1
        yield paths[first:]


def _known(path: Path, number: int, newest: int, known: Mapping[str, int]) -> bool:
    """Whether what is in a segment is known.

    Of a chain that ends before that nothing is: an older copy was put back, and goes on with
    numbers that were used before.
    """
    try:
        return bool(known) and number < known.get(head_of(path).writer, 0) <= newest
    except (Torn, Tampered):
        return False


def _older(path: Path, following: Path, since: float) -> bool:
    """Whether a segment was last written before `since`: by its file's time, and by its contents.

    A file's time alone may be anything, in a copy or after the clock was set.
    """
    if path.stat().st_mtime >= since:
        return False
    begun = (begun_at(path), begun_at(following))
    return all(at is not None and at < since for at in begun)


def _rows_of(
    paths: Sequence[Path], key: Secret | None, passing_over: bool = False
) -> Iterator[Ended]:
    for frame in _frames_of(paths, key, passing_over):
        if frame.kind is Kind.END:
            yield msgspec.msgpack.decode(frame.payload, type=Ended)


def _adjustments_of(paths: Sequence[Path], key: Secret | None) -> Iterator[Adjusted]:
    for frame in _frames_of(paths, key):
        if frame.kind is Kind.ADJUST:
            yield msgspec.msgpack.decode(frame.payload, type=Adjusted)


def _frames_of(
    paths: Sequence[Path], key: Secret | None, passing_over: bool = False
) -> Iterator[Frame]:
    """The frames of one chain, over all its segments."""
    before: SegmentHeader | None = None
    last = b""
    for path in paths:
        try:
            for header, frame in _segment(path, key, newest=path == paths[-1]):
                if before not in (None, header) and header.last != last:
                    raise Tampered(0, path.name)
                before, last = header, frame.chain
                yield frame
        except FileNotFoundError:
            if not passing_over:
                raise
            before = None  # the next one begins anew


def _segment(
    path: Path, key: Secret | None, *, newest: bool
) -> Iterator[tuple[SegmentHeader, Frame]]:
    """One segment's frames.  Tampered names it; the newest may have a torn tail."""
    try:
        yield from frames_of(path, key)
    except Torn as torn:
        if not newest:
            raise Tampered(torn.offset, path.name) from None
    except Tampered as error:
        raise Tampered(error.offset, path.name) from None
