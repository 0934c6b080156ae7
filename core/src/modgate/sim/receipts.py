"""Receipts as they are replayed: when requests came, what they were, and how long engines took.

Source: the lines of `modgate ledger export` (ledger/records.py, `Ended`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from modgate.api.json import JsonObject
from modgate.ledger.records import Ended
from modgate.sim.trouble import Trouble

LINE_AT_MOST = 1 << 20
SHOWN = 80
SECONDS_AT_MOST = 31 * 86400.0  # of a request


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Of an attempt what is needed here; see `api.sink.Attempt`."""

    call: int
    backend: str
    began_s: float
    first_s: float | None = None
    ended_s: float | None = None
    state: str = ""
    members: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """A call as its last attempt went.  Seconds since the request began; `ok`: it was answered.

    `members`: calls that shared its trip.
    """

    backend: str
    began_s: float
    first_s: float
    ended_s: float
    ok: bool
    members: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A request of which at least one call went to an engine.

    `line`: where it stands in the file.  `counts`, `reserved`: by short name of the unit.  `width`:
    how many of its calls were under way at once.  `first_byte_s`, `duration_s`: as the client saw
    it, from its first byte to ours.
    """

    line: int
    id: str
    at: float
    modality: str
    model: str
    tenant: str
    slo: str
    stream: bool
    ok: bool
    counts: Mapping[str, int]
    reserved: Mapping[str, int]
    regions: frozenset[str] | None
    calls: Sequence[PastCall]
    width: int
    first_byte_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """What was read.  `past`: by the time they came; `left_out`: requests that no engine saw."""

    past: Sequence[Past]
    left_out: int


def read(lines: Iterable[bytes], name: str) -> Receipts:
    """The receipts of a file; Trouble names the line that lacks what is needed."""
    found: list[Past] = []
    left_out = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        past = _past(line, number, f"{name}, line {number}")
        if past is None:
            left_out += 1
        else:
            found.append(past)
    if not found:
        raise Trouble(f"{name}: no request in it went to an engine, so there is nothing to replay")
    return Receipts(past=sorted(found, key=lambda past: past.at), left_out=left_out)


def _past(line: bytes, number: int, place: str) -> Past | None:
    end = _ended(line, place)
    if not end.modality or not end.attempts:
        return None
    calls = _calls(end.attempts, place)
    if not calls:
        return None
    _plausible(end, calls, place)
    front = f"{end.modality}."
    duration_s = end.duration_s or max(call.ended_s for call in calls)
    return Past(
        line=number,
        id=end.id,
        at=end.wall,
        modality=end.modality,
        model=end.model,
        tenant=end.tenant,
        slo=end.slo,
        stream=end.stream,
        ok=end.ending == "ok",
        counts=_short(end.units, front),
        reserved=_short(end.reserved, front),
        regions=None if end.regions is None else frozenset(end.regions),
        calls=calls,
        width=_width(calls),
        first_byte_s=duration_s if end.first_byte_s is None else end.first_byte_s,
        duration_s=duration_s,
    )


def _plausible(end: Ended, calls: Sequence[PastCall], place: str) -> None:
    """Numbers that can be: one that cannot would be averaged with all the others."""
    if not any(end.units.values()):
        raise Trouble(f"{place}: 'units' says of no unit how much was asked for")
    for counts, field in ((end.units, "units"), (end.reserved, "reserved")):
        wrong = next((name for name, n in counts.items() if n < 0), None)
        if wrong is not None:
            raise Trouble(f"{place}: '{field}' says {counts[wrong]} of '{wrong}'")
    first_s = end.first_byte_s or 0.0
    for name, seconds in (("duration_s", end.duration_s), ("first_byte_s", first_s)):
        if not 0 <= seconds <= SECONDS_AT_MOST:
            raise Trouble(f"{place}: '{name}' is {seconds:g} seconds, which no request takes")
    if not all(0 <= call.began_s <= call.ended_s <= SECONDS_AT_MOST for call in calls):
        raise Trouble(f"{place}: an attempt ends before it begins, or takes more than a month")


def _short(counts: Mapping[str, int], front: str) -> Mapping[str, int]:
    return {name.removeprefix(front): n for name, n in counts.items() if name.startswith(front)}


def _ended(line: bytes, place: str) -> Ended:
    if len(line) > LINE_AT_MOST:
        raise Trouble(f"{place}: it is longer than any receipt")
    try:
        plain: object = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        start = line[:SHOWN].decode(errors="replace").strip()
        raise Trouble(f"{place}: no JSON object, but '{start}'") from None
    if not isinstance(plain, dict):
        raise Trouble(f"{place}: no JSON object")
    if "event" in plain or "logger" in plain:
        text = "a line of the log, which has no times of attempts: take `modgate ledger export`"
        raise Trouble(f"{place}: {text}")
    if plain.get("object") == "receipt":
        text = "a receipt as a client gets it, without attempts: take `modgate ledger export`"
        raise Trouble(f"{place}: {text}")
    try:
        return msgspec.convert(plain, Ended)
    except msgspec.ValidationError as error:
        raise Trouble(f"{place}: {error}") from None


def _calls(attempts: Sequence[JsonObject], place: str) -> Sequence[PastCall]:
    """Each call's last attempt, in the order in which they began."""
    last: dict[int, _Attempt] = {}
    for at, plain in enumerate(attempts):
        try:
            attempt = msgspec.convert(plain, _Attempt)
        except msgspec.ValidationError as error:
            raise Trouble(f"{place}: attempt {at}: {error}") from None
        if attempt.ended_s is not None:
            last[attempt.call] = attempt
    calls = [_call(each) for each in last.values()]
    return sorted(calls, key=lambda call: call.began_s)


def _call(attempt: _Attempt) -> PastCall:
    ended_s = attempt.ended_s if attempt.ended_s is not None else attempt.began_s
    return PastCall(
        backend=attempt.backend,
        began_s=attempt.began_s,
        first_s=ended_s if attempt.first_s is None else attempt.first_s,
        ended_s=ended_s,
        ok=attempt.state == "ok",
        members=max(1, attempt.members),
    )


def _width(calls: Sequence[PastCall]) -> int:
    """How many of them were under way at once, at most."""
    edges = sorted(
        [(call.began_s, 1) for call in calls] + [(call.ended_s, -1) for call in calls],
    )
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return max(1, most)
