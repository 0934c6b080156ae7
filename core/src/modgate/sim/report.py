"""What a replay says, beside what was: promises kept, times, queueing, and use of backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil

from modgate.api.json import JsonObject
from modgate.api.modality import AnyModality
from modgate.api.plan import Call
from modgate.api.select import Backend
from modgate.fleet.terms import Terms
from modgate.goals import Goals
from modgate.sim.paces import Shown
from modgate.sim.receipts import Past
from modgate.sim.replay import NO_BODY, Outcome, Play, Replayed, policy_of
from modgate.sim.sizes import Sized
from modgate.sim.unplayed import unplayed

SHARES = (0.50, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Of some requests: per cent of promises kept, and seconds of the phase that is judged."""

    kept: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Of one SLO class and modality.  `past`: of those of its requests that were answered then.

    `best_effort`, `queued`, `refused`: how many; `queued_p95_s`: of all of them.
    """

    slo: str
    modality: str
    requests: int
    now: Times
    past: Times
    best_effort: int
    queued: int
    queued_p95_s: float
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Of one backend: calls, and the share of its slots that was taken, on average.

    `slots` 0: the configuration does not have it.
    """

    backend: str
    slots: int
    calls: int
    used: float
    past_calls: int
    past_used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it.  `left_out`: requests that no engine saw; `load`: of what came.

    `unplayed`: keys of the configuration that a replay does not know.
    """

    requests: int
    left_out: int
    load: float
    seconds: float
    past_seconds: float
    rows: Sequence[Row]
    uses: Sequence[Use]
    unplayed: Sequence[str]

    def plain(self) -> JsonObject:
        """As JSON."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What one request took, of its promise: seconds, and whether it was kept."""

    seconds: float
    kept: bool


def report(play: Play, replayed: Replayed, shown: Shown, left_out: int) -> Report:
    """By class and modality, and by backend."""
    judge = _Judge(play)
    rows: dict[tuple[str, str], list[tuple[Outcome, Sized]]] = {}
    sizes = {past.line: size for past, size in play.past}
    for outcome in replayed.outcomes:
        key = policy_of(outcome.past, play.policies).slo, outcome.past.modality
        rows.setdefault(key, []).append((outcome, sizes[outcome.past.line]))
    first = play.past[0][0].at
    past_seconds = max(past.at + past.duration_s for past, _ in play.past) - first
    return Report(
        requests=len(play.past),
        left_out=left_out,
        load=play.load,
        seconds=replayed.seconds,
        past_seconds=past_seconds,
        rows=[_row(*key, found, judge) for key, found in sorted(rows.items())],
        uses=_uses(play, replayed, shown, past_seconds),
        unplayed=list(unplayed(play.made, {past.model for past, _ in play.past})),
    )


class _Judge:
    """Holds requests against the promise that the configuration makes for all that they took."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._goals = Goals(play.made.linked.targets, {}, {})

    def terms(self, past: Past, size: Sized) -> Terms:
        """What is promised to a request."""
        modality: AnyModality = self._play.modalities[past.modality]
        call = Call(path="", body=NO_BODY, size=size.whole, reply="sse" if past.stream else "whole")
        slo = policy_of(past, self._play.policies).slo
        return self._goals.terms(
            call, model=past.model, modality=modality, tenant=past.tenant, slo=slo
        )[1]

    def seen(self, past: Past, size: Sized, first_s: float, ended_s: float) -> _Seen:
        """A request that was answered so."""
        terms = self.terms(past, size)
        seconds = first_s if terms.phase == "first_byte" else ended_s
        kept = seconds <= terms.target_s
        if kept and terms.between_s and size.written > 1:
            events = size.written * len(past.calls) - 1
            kept = (ended_s - first_s) / events <= terms.between_s
        return _Seen(seconds=seconds, kept=kept)


def _row(slo: str, modality: str, found: Sequence[tuple[Outcome, Sized]], judge: _Judge) -> Row:
    outcomes = [outcome for outcome, _ in found]
    now = [
        judge.seen(outcome.past, size, outcome.first_s, outcome.ended_s)
        for outcome, size in found
        if not outcome.refused
    ]
    past = [
        judge.seen(outcome.past, size, outcome.past.first_byte_s, outcome.past.duration_s)
        for outcome, size in found
        if outcome.past.ok
    ]
    return Row(
        slo=slo,
        modality=modality,
        requests=len(found),
        now=_times(now, len(found)),
        past=_times(past, len(past)),
        best_effort=sum(outcome.best_effort for outcome in outcomes),
        queued=sum(outcome.queued_s > 0 for outcome in outcomes),
        queued_p95_s=_quantile([outcome.queued_s for outcome in outcomes], 0.95),
        refused=sum(bool(outcome.refused) for outcome in outcomes),
    )


def _times(seen: Sequence[_Seen], of: int) -> Times:
    """The times of those that were answered; of `of` requests, the others kept no promise."""
    times = [each.seconds for each in seen]
    p50_s, p95_s, p99_s = (_quantile(times, share) for share in SHARES)
    kept = 100.0 * sum(each.kept for each in seen) / of if of else 0.0
    return Times(kept=kept, p50_s=p50_s, p95_s=p95_s, p99_s=p99_s)


def _quantile(values: Sequence[float], share: float) -> float:
    if not values:
        return 0.0
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def _uses(play: Play, replayed: Replayed, shown: Shown, past_seconds: float) -> Sequence[Use]:
    backends: Mapping[str, Backend] = {each.name: each for each in play.made.linked.backends}
    calls: dict[str, int] = {}
    for past, _ in play.past:
        for call in past.calls:
            calls[call.backend] = calls.get(call.backend, 0) + 1
    uses = []
    for name in [*backends, *sorted(calls.keys() - backends.keys())]:
        slots = backends[name].slots if name in backends else 0
        wear = replayed.wear.get(name)
        uses.append(
            Use(
                backend=name,
                slots=slots,
                calls=wear.calls if wear is not None else 0,
                used=_share(wear.busy_s if wear is not None else 0.0, slots, replayed.seconds),
                past_calls=calls.get(name, 0),
                past_used=_share(shown.busy_s.get(name, 0.0), slots, past_seconds),
            )
        )
    return uses


def _share(busy_s: float, slots: int, seconds: float) -> float:
    return busy_s / slots / seconds if slots and seconds > 0 else 0.0
