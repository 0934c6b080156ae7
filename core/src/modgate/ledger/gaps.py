"""What a ledger may have lost, and how much at most, from what its writers wrote down about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from modgate.api.json import JsonObject
from modgate.api.secret import Secret
from modgate.clock import iso
from modgate.ledger.frames import Frame, Kind, Tampered, Torn
from modgate.ledger.records import Ended, Noted
from modgate.ledger.segments import frames_of, note_of, segments, workers

QUIET = frozenset({"closed"})


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that whoever makes bills should know.

    `at`: the time of day, in seconds.  `what`: a word for programs, as `Noted.what` has it,
    or `estimated`.  `text`: a sentence for people.  `lost`: whether bills may be missing, and
    `bound`: how much at most, in words.  `request_id`, `units`: of a bill that is an estimate.
    """

    at: float
    what: str
    lost: bool
    text: str
    bound: str = ""
    request_id: str = ""
    units: JsonObject = {}


def gaps(directory: Path, key: Secret | None = None) -> Iterator[Gap]:
    """Every gap of every chain, in the order of the chain.

    `key`: proves the chains on the way, with Tampered where one is broken; None reads unproven.
    """
    for worker in workers(directory):
        paths, known = list(segments(directory, worker).values()), 0
        for frame in _frames(paths, key):
            note = note_of(frame) if frame.kind is Kind.ANCHOR else None
            if note is not None and note.what == "dropped":
                known += 0 if note.acknowledged else note.frames
                if note.missed > known:
                    yield _forgotten(note, note.missed - known)
                known = max(known, note.missed)
                if note.segment in segments(directory, worker):
                    yield _back(note)
                    continue
            yield from _gap(frame)


def _frames(paths: Sequence[Path], key: Secret | None) -> Iterator[Frame]:
    for path in paths:
        try:
            for _, frame in frames_of(path, key):
                yield frame
        except FileNotFoundError:
            continue  # dropped meanwhile, as a later note says
        except Torn as torn:
            if path != paths[-1]:
                raise Tampered(torn.offset, path.name) from None
        except Tampered as error:
            raise Tampered(error.offset, path.name) from None


def _back(note: Noted) -> Gap:
    """No loss after all: it was not dropped yet, or what somebody took away was put back."""
    dropped = "was to be dropped, and is still here"
    taken = "was taken away while it was written, and is here again"
    text = f"segment {note.segment} {dropped if note.last else taken}"
    return Gap(at=note.wall, what="dropped", lost=False, text=text)


def _forgotten(note: Noted, frames: int) -> Gap:
    """The loss of frames whose own note was in a segment that was dropped later."""
    text = "older segments were dropped before every sink had them, and later what said so, too"
    return Gap(at=note.wall, what="dropped", lost=True, text=text, bound=f"{frames} frames")


def _gap(frame: Frame) -> Iterator[Gap]:
    if frame.kind is Kind.END:
        end = msgspec.msgpack.decode(frame.payload, type=Ended)
        if end.ending == "gateway_crash":
            yield Gap(
                at=end.wall,
                what="estimated",
                lost=False,
                text=f"{end.id} was cut by a crash and is billed by estimate",
                request_id=end.id,
                units=dict(end.units),
            )
    elif frame.kind is Kind.ANCHOR:
        note = note_of(frame)
        if note is not None and note.what not in QUIET:
            yield _told(note)


def _told(note: Noted) -> Gap:
    lost, text, bound = _words(note)
    return Gap(at=note.wall, what=note.what, lost=lost, text=text, bound=bound)


def _words(note: Noted) -> tuple[bool, str, str]:
    """Of a note: whether bills may be missing, the sentence, and how much is missing at most."""
    where, until = f"segment {note.segment}", iso(note.until, "milliseconds")
    match note.what:
        case "recovered":
            return _recovered(note, where)
        case "dropped" | "missing":
            return _dropped(note, where)
        case "unsynced":
            text = f"the disk did not keep {where}: what was written in it since the last sync"
            return True, f"{text} is lost if the machine went down before the next one", ""
        case "resumed":
            text = f"the disk takes frames again; {note.frames} bills had waited in memory"
            return False, text, ""
        case "behind":
            text = f"{note.sink} had seen {where} of {note.writer} up to byte {note.size_bytes}, "
            text += "which is not here: the end was cut, or an older copy was put back"
            return True, text, f"what came after the copy and before {until} in no sink"
        case "replaced":
            text = f"{note.sink} knows {note.writer}, whose directory is not here"
            return True, text, f"what it wrote after {until}, when it was last heard"
        case "closed":
            return False, "the gateway stopped in order", ""


def _dropped(note: Noted, where: str) -> tuple[bool, str, str]:
    if note.what == "missing":
        text = f"{where} was gone when the machine came up again, and nothing says who took it: "
        text += "it was dropped right before, or moved away"
        return True, text, "what of it, and of those before it, no sink had"
    if note.acknowledged:
        return False, f"{where} was dropped, every sink had it", ""
    text = f"{where} was dropped before every sink had it"
    return True, text, f"{note.frames} frames, {note.size_bytes} bytes"


def _recovered(note: Noted, where: str) -> tuple[bool, str, str]:
    until = iso(note.until, "milliseconds")
    ends = f"{note.crashed} requests were ended as gateway_crash"
    torn = f", {note.size_bytes} torn bytes were cut off" if note.size_bytes else ""
    if not note.rebooted:
        text = f"{where}: the gateway was killed, the machine stayed up{torn}; {ends}"
        return bool(note.size_bytes), text, "nothing that was handed to the kernel is lost"
    text = f"{where}: the machine went down{torn}; {ends}"
    bound = f"frames of the last {note.sync_s * 1000:g} ms, and of two syncs, before it did; "
    return True, text, f"{bound}the last that is here is of {until}"
