"""Why each seat of a model was or was not the one: worked out from what a pick left, when asked.

Pure, and after the fact: it looks at nothing that has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from modgate.fleet.pick import FITS, SAMPLED, Choice, Wanted, allowed
from modgate.fleet.pool_state import PoolState, SeatState
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Terms

LeftOut = Literal[
    "",  # it was not: it was compared
    "region",  # the caller's data may not be there
    "requires",  # it does not offer what the call needs
    "tried",  # it failed this call before
    "passed_over",  # it failed others lately, and this one had failed already
    "filtered",  # a filter of the operator's did not keep it
    "ejected",
    "saturated",
    "in_hand",  # the call rather waits than be late, and this one had something in hand
    "no_slot",
    "late",  # the call rather waits, is refused or goes to another model than be late
    "disqualified",  # it breaks its promises to this class
    "not_compared",  # a sample was, and it was not in it
    "others_wait",  # those that came before
]
Outcome = Literal["", "chosen", "other", "unsure", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One seat of the model.

    `outcome`: of a seat that was compared: an `unsure` one was not to be expected to keep the
    promise, an `other` might have been taken as well.  `score_s`: its predicted time times
    preference, and what scorers said.  `stood`: how it stood within the second before; None where
    nothing is judged.
    """

    seat: Seat
    left_out: LeftOut
    outcome: Outcome = ""
    predicted_s: float | None = None
    score_s: float | None = None
    stood: SeatState | None = None


def considered(choice: Choice, wanted: Wanted) -> list[Candidate]:
    """The seats of a model at a pick, as its pool has them."""
    lately, chosen = choice.lately, choice.seat
    seats: Sequence[Seat] = lately.seats if lately is not None else (chosen,)
    seconds = dict(zip(map(id, choice.compared), choice.seconds, strict=True))
    liked = dict(zip(map(id, choice.liked[0]), choice.liked[1], strict=True))
    stood = _stood_of(lately)
    found = []
    for seat in seats:
        predicted_s = seconds.get(id(seat))
        if seat is chosen and predicted_s is None and wanted.terms is not None:
            predicted_s = choice.predicted * wanted.terms.target_s
        left_out: LeftOut = ""
        if seat is not chosen:
            left_out = _left_out(seat, choice, wanted, stood.get(id(seat)))
        found.append(
            Candidate(
                seat=seat,
                left_out=left_out,
                outcome="" if left_out else _outcome(seat, choice, predicted_s, wanted.terms),
                predicted_s=predicted_s if predicted_s != inf else None,
                score_s=_score_s(seat, predicted_s, liked.get(id(seat), 1.0)),
                stood=stood.get(id(seat)),
            )
        )
    return found


def _score_s(seat: Seat, predicted_s: float | None, liked: float) -> float | None:
    return predicted_s * seat.factor * liked if predicted_s not in (None, inf) else None


def _left_out(seat: Seat, choice: Choice, wanted: Wanted, stood: SeatState | None) -> LeftOut:
    if (hard := _never(seat, wanted)) or seat.backend in wanted.tried:
        return hard or "tried"
    for name, kept in choice.passed:
        if name != "fit" and not any(each is seat for each in kept):
            away = _away(stood) if name in ("passed_over", "ejected") else ""
            return away or name
    if any(each is seat for each in choice.compared):
        return ""
    whole = wanted.tried and not choice.passed and len(choice.compared) != SAMPLED
    return "passed_over" if whole else "not_compared"


def _away(stood: SeatState | None) -> LeftOut:
    match stood.health if stood is not None else "":
        case "ejected":
            return "ejected"
        case "saturated":
            return "saturated"
    return ""


def _never(seat: Seat, wanted: Wanted) -> LeftOut:
    if wanted.regions is not None and seat.region not in wanted.regions:
        return "region"
    return "" if allowed(seat, wanted) else "requires"


def _outcome(seat: Seat, choice: Choice, predicted_s: float | None, terms: Terms | None) -> Outcome:
    if seat is choice.seat:
        return "chosen"
    if terms is None or predicted_s is None or choice.why == "best_effort":
        return "other"
    fit = dict(choice.passed).get("fit")
    gaps = bool(terms.between_s) and seat.standing.between_s > terms.between_s
    if predicted_s == inf and not gaps:
        return "full"
    if gaps or predicted_s > FITS * terms.target_s:
        return "unsure"
    return "full" if fit is not None and not any(each is seat for each in fit) else "other"


def _stood_of(pool_state: PoolState | None) -> dict[int, SeatState]:
    if pool_state is None:
        return {}
    return dict(zip(map(id, pool_state.seats), pool_state.stood, strict=True))


def missed(pool_state: PoolState, seconds: Sequence[float], wanted: Wanted) -> Iterator[Candidate]:
    """The seats of a model when a call found none of them; `seconds`: predicted of each, if any."""
    fresh = [each for each in pool_state.seats if not _never(each, wanted)]
    only = all(each.backend in wanted.tried for each in fresh)
    for at, (seat, stood) in enumerate(zip(pool_state.seats, pool_state.stood, strict=True)):
        predicted_s = seconds[at] if seconds else None
        left_out = _never(seat, wanted)
        if not left_out and seat.backend in wanted.tried and not only:
            left_out = "tried"
        yield Candidate(
            seat=seat,
            left_out=left_out or _busy(stood, predicted_s, wanted.terms),
            predicted_s=predicted_s,
            score_s=predicted_s * seat.factor if predicted_s is not None else None,
            stood=stood,
        )


def _busy(stood: SeatState, predicted_s: float | None, terms: Terms | None) -> LeftOut:
    if away := _away(stood):
        return away
    if stood.taken >= stood.limit or stood.crowded:
        return "no_slot"
    if terms is None or predicted_s is None:
        return "others_wait"
    if terms.barred(stood.out):
        return "disqualified"
    return "late" if predicted_s > FITS * terms.target_s else "others_wait"
