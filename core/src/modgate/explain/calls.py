"""The calls of a request as `modgate explain` tells them: attempts, and waits, with candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modgate.api.json import Json, JsonObject
from modgate.draft import Draft
from modgate.fleet.pick import Choice, Wanted
from modgate.fleet.pool_state import PoolState, SeatState
from modgate.fleet.promise import Promise
from modgate.fleet.reasons import Candidate, considered, missed
from modgate.fleet.terms import Promised, Terms
from modgate.tries import Missed, Try

if TYPE_CHECKING:
    from modgate.gateway import Gateway

ATTEMPTS_AT_MOST = 256  # of a fan-out; the first ones are told
CANDIDATES_AT_MOST = 64  # attempts whose candidates are told
NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was promised to an attempt, and what came of it; `predicted`, `took`: seconds.

    `gaps`: of those between a stream's events, where it has a choice of backends.
    """

    phase: Promised
    target_s: float
    predicted_s: float | None
    took_s: float | None
    promised: bool
    gaps: Judged | None = None

    @property
    def share(self) -> float | None:
        """Of its target, that it took."""
        return None if self.took_s is None else self.took_s / self.target_s

    def worst(self, lost_s: float) -> float | None:
        """The larger share of its target, of those of the phase and of the gaps.

        `lost_s`: what the call waited before the attempt, for a slot and at engines that failed it:
        that counts against the promise, too.
        """
        shares = [] if self.took_s is None else [(lost_s + self.took_s) / self.target_s]
        if self.gaps is not None and self.gaps.share is not None:
            shares.append(self.gaps.share)
        return max(shares, default=None)

    def plain(self) -> JsonObject:
        """For a page."""
        share = self.share
        return {
            "phase": self.phase,
            "target_ms": ms(self.target_s),
            "predicted_ms": ms(self.predicted_s),
            "took_ms": ms(self.took_s),
            "share": None if share is None else round(share, 4),
            "kept": None if share is None else share <= 1,
            "promised": self.promised,
            "gaps": self.gaps.plain() if self.gaps is not None else None,
        }


def judged(tried: Try, draft: Draft, gateway: Gateway) -> Judged | None:
    """By its promise; where there was nothing to choose, by the targets of the configuration."""
    promise = tried.promise
    if promise is not None:
        target_s = promise.terms.target_s
        took_s = promise.ratio * target_s if promise.ratio is not None else None
        return Judged(
            phase=promise.terms.phase,
            target_s=target_s,
            predicted_s=promise.predicted * target_s,
            took_s=took_s,
            promised=True,
            gaps=_gaps(promise),
        )
    model = gateway.table.models.get(tried.model)
    if model is None:
        return None
    stream = tried.reply != "whole"
    phase, target_s = gateway.goals.target(
        tried.size,
        stream=stream,
        modality=gateway.table.modalities[model.modality],
        slo=draft.caller.policy.slo,
    )
    end = tried.first_s if phase == "first_byte" else tried.ended_s
    took_s = end - tried.began_s if tried.state == "ok" and end is not None else None
    return Judged(phase=phase, target_s=target_s, predicted_s=None, took_s=took_s, promised=False)


def asked_s(draft: Draft) -> Mapping[int, float]:
    """When each call was first to go out, in seconds since the request began."""
    found: dict[int, float] = {}
    for tried in draft.tries:
        since_s = tried.waits_since_s
        began_s = tried.began_s if since_s is None else since_s
        found[tried.call] = min(found.get(tried.call, began_s), began_s)
    return found


def _gaps(promise: Promise) -> Judged | None:
    target_s, ratio = promise.terms.between_s, promise.between_ratio
    if not target_s:
        return None
    return Judged(
        phase="between",
        target_s=target_s,
        predicted_s=promise.gap_s or None,
        took_s=ratio * target_s if ratio is not None else None,
        promised=True,
    )


def attempts_of(draft: Draft, gateway: Gateway) -> list[Json]:
    """The attempts in the order in which they began."""
    told: list[Json] = []
    for number, tried in enumerate(draft.tries[:ATTEMPTS_AT_MOST]):
        promise = judged(tried, draft, gateway)
        told.append(
            {
                "call": tried.call,
                "model": tried.model,
                "backend": tried.backend,
                "region": tried.region,
                "family": tried.family,
                "state": tried.state,
                "status": tried.status,
                "error": tried.error or None,
                "unreached": tried.unreached or None,
                "sent": tried.sent,
                "shared_by": tried.members,
                "began_ms": ms(tried.began_s),
                "first_event_ms": ms(tried.first_s),
                "ended_ms": ms(tried.ended_s),
                "broke": tried.record(draft.operation).broke or None,
                "slo": promise.plain() if promise is not None else None,
                "pick": _pick(tried, draft, whole=number < CANDIDATES_AT_MOST),
            }
        )
    return told


def _pick(tried: Try, draft: Draft, *, whole: bool) -> JsonObject | None:
    choice, wanted = tried.choice, tried.wanted
    if choice is None or wanted is None:
        return None
    at = draft.began + tried.began_s
    told: JsonObject = {
        "why": _why(choice, wanted),
        "again": bool(wanted.tried),
        "work": round(wanted.work, 3),
        "work_before_end": round(choice.load, 3),
        **_view(choice.lately, at),
    }
    if whole:
        found = considered(choice, wanted)
        told["candidates"] = [_candidate(each, wanted.terms, at) for each in found]
    return told


def _why(choice: Choice, wanted: Wanted) -> str:
    return "only" if wanted.terms is None else choice.why


def _candidate(found: Candidate, terms: Terms | None, at: float) -> JsonObject:
    told: JsonObject = {
        "backend": found.seat.backend,
        "region": found.seat.region,
        "left_out": found.left_out or None,
        "outcome": found.outcome or None,
        "predicted_ms": ms(found.predicted_s),
        "score_ms": ms(found.score_s),
    }
    if terms is not None and found.predicted_s is not None:
        told["share"] = round(found.predicted_s / terms.target_s, 4)
    if (stood := found.stood) is not None:
        first = terms is not None and terms.phase == "first_byte"
        learned_at = stood.first_byte_learned_at if first else stood.total_learned_at
        told |= {
            "state": _word(stood),
            "taken": stood.taken,
            "slots": stood.limit,
            "work": round(stood.work, 3),
            "cache_full": stood.full,
            "disqualified_for": sorted({slo for slo, _ in stood.out}),
            "telemetry_age_ms": ms(at - stood.heard_at) if stood.heard_at != NEVER else None,
            "learned_ago_ms": ms(at - learned_at) if learned_at else None,
        }
    return told


def _word(stood: SeatState) -> str:
    """As /admin/v1/backends says it, but for what the health path says."""
    if stood.health not in ("ejected", "saturated") and (stood.full or stood.out):
        return "degraded"
    return stood.health


def waits_of(draft: Draft) -> list[Json]:
    """Calls that found no slot at once: the first of them."""
    return [_wait(each, draft) for each in draft.missed]


def _wait(found: Missed, draft: Draft) -> JsonObject:
    at, terms = draft.began + found.began_s, found.wanted.terms
    seats: Iterable[Candidate] = ()
    pool_state = found.pool_state
    if pool_state is not None:
        seats = missed(pool_state, found.seconds, found.wanted)
    return {
        "call": found.call,
        "model": found.model,
        "began_ms": ms(found.began_s),
        **_view(pool_state, at),
        "unmet": terms.unmet if terms is not None else None,
        "candidates": [_candidate(each, terms, at) for each in seats],
    }


def _view(state: PoolState | None, at: float) -> JsonObject:
    """Of how the seats stood: since when it is known, and how well what others do is."""
    if state is None:
        return {"stood_ago_ms": None}
    ago = ms(max(0.0, at - state.at))
    return {
        "stood_ago_ms": ago,
        "gateways_heard": state.others,
        "exact_view": state.exact,
    }


def ms(seconds: float | None) -> float | None:
    """Milliseconds, to the microsecond."""
    return None if seconds is None else round(seconds * 1000, 3)
