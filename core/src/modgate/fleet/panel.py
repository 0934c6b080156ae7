"""An operator's filters and scorers at work: asked in order, and never a reason for a call to fail.

One that raises, answers nonsense or takes longer than its budget is passed over; after a few times
in a row it is left out for a while, for a slow one would be paid for by every call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from operator import mul
from time import perf_counter
from typing import Literal, TypeVar

from modgate.api.scorer import LEAST_SCORE, MOST_SCORE, Candidate, Placement
from modgate.api.vitals import Vitals
from modgate.faults import RAISED
from modgate.fleet.pick import NOBODY, Wanted
from modgate.fleet.slots import Seat
from modgate.fleet.terms import Terms
from modgate.fleet.view import View

log = logging.getLogger(__name__)

IN_A_ROW = 5
LEFT_OUT_S = 30.0

T = TypeVar("T")
Keeps = Callable[[Placement, Sequence[Candidate]], Sequence[bool]]
Scores = Callable[[Placement, Sequence[Candidate], Sequence[float]], Sequence[float]]
Fault = Literal["exception", "nonsense", "budget"]


@dataclass(slots=True, eq=False, kw_only=True)
class Voice:
    """A filter or scorer of one section.

    `origin`: whose code it is.  `note(section, fault)` counts.  `budget_s` is judged once it has
    answered: what came late is heard all the same, for it was paid for.
    """

    name: str
    origin: str
    budget_s: float
    note: Callable[[str, str], None]
    timer: Callable[[], float] = perf_counter
    out_until: float = field(default=float("-inf"), init=False)
    _told_at: float = field(default=float("-inf"), init=False)
    _row: int = field(default=0, init=False)

    def asked(
        self,
        ask: Callable[[], Sequence[T]],
        read: Callable[[Sequence[T]], list[T] | None],
        now: float,
    ) -> Sequence[T] | None:
        """What it answers, as `read`; None where that is nonsense, it breaks or is left out.

        What is read is the core's own: whatever an answer does when it is looked at, it does here.
        """
        if now < self.out_until:
            return None
        began = self.timer()
        try:
            said = read(ask())
            fault: Fault | None = "nonsense" if said is None else None
        except RAISED:
            if self._failed("exception", now):
                log.exception("scorer failed", extra=self._words("exception"))
            return None
        if fault is None and self.timer() - began > self.budget_s:
            fault = "budget"
        if fault is None:
            self._row = 0
        elif self._failed(fault, now):
            log.error("scorer failed", extra=self._words(fault))
        return said

    def _failed(self, fault: Fault, now: float) -> bool:
        """It did not answer, or not well; whether to say so, which is not each time."""
        self._row += 1
        self.note(self.name, fault)
        if self._row >= IN_A_ROW:
            self._row = 0
            self.out_until = now + LEFT_OUT_S
            log.error("scorer left out", extra={**self._words(fault), "seconds": LEFT_OUT_S})
        if now - self._told_at < LEFT_OUT_S:
            return False
        self._told_at = now
        return True

    def _words(self, fault: Fault) -> dict[str, str]:
        return {"scorer": self.name, "plugin": self.origin, "fault": fault}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterVoice:
    """A filter: what it is asked, and its voice."""

    voice: Voice
    keeps: Keeps

    def kept(self, call: Placement, seats: Sequence[Seat], now: float) -> Sequence[Seat]:
        """The seats that it keeps; all of them where it keeps none, or breaks."""
        ask = partial(self.keeps, call, views_of(seats))
        keeps = self.voice.asked(ask, partial(_flags, len(seats)), now)
        return list(compress(seats, keeps)) or seats if keeps is not None else seats


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerVoice:
    """A scorer: what it is asked, how much that counts, and its voice."""

    voice: Voice
    scores: Scores
    weight: float = 1.0

    def said(
        self, call: Placement, views: Sequence[View], seconds: Sequence[float], now: float
    ) -> Sequence[float] | None:
        """What it says; None where it breaks."""
        ask = partial(self.scores, call, views, seconds)
        scores = self.voice.asked(ask, partial(_numbers, len(views)), now)
        if scores is None or self.weight == 1:
            return scores
        return [each**self.weight for each in scores]


def views_of(seats: Sequence[Seat]) -> list[View]:
    """What is shown of them."""
    return [seat.view for seat in seats if seat.view is not None]


def _flags(many: int, said: Sequence[bool]) -> list[bool] | None:
    return list(map(bool, said)) if len(said) == many else None


def _numbers(many: int, said: Sequence[float]) -> list[float] | None:
    """Scores, if all are; a sum that is no number is none of numbers."""
    if len(said) != many:
        return None
    likely = min(said) >= LEAST_SCORE and max(said) <= MOST_SCORE and sum(said) > 0
    return list(map(float, said)) if likely else None


class Panel:
    """Those of one model.  `vitals(identity, now)`: what an engine says."""

    __slots__ = ("_all", "_filters", "_modality", "_model", "_scorers", "_vitals")

    def __init__(
        self,
        model: str,
        modality: str,
        *,
        filters: Sequence[FilterVoice],
        scorers: Sequence[ScorerVoice],
        vitals: Callable[[str, float], Vitals],
    ) -> None:
        self._model = model
        self._modality = modality
        self._filters = filters
        self._scorers = scorers
        self._vitals = vitals
        self._all: Sequence[View] = ()

    def look(self, seats: Sequence[Seat], now: float) -> None:
        """Each second, and before the first call among these: what engines say is shown anew."""
        self._all = views_of(seats)
        for view in self._all:
            view.vitals = self._vitals(view.identity, now)

    def on(self, wanted: Wanted, terms: Terms, now: float) -> Advice:
        """What they say of one call."""
        call = Placement(
            model=self._model,
            modality=self._modality,
            tenant=wanted.tenant,
            slo=terms.slo,
            size=wanted.size,
            work=wanted.work,
            phase=terms.phase,
            target_s=terms.target_s,
            requires=wanted.requires,
        )
        return Advice(call, self._filters, self._scorers, self._all, now)


class Advice:
    """Of one call.  `among`: the views of all seats of its pool, in order.

    `liked`: of whom the scorers were asked last, and the factors that they said.
    """

    __slots__ = ("_among", "_asked", "_call", "_filters", "_now", "_scorers", "liked")

    def __init__(
        self,
        call: Placement,
        filters: Sequence[FilterVoice],
        scorers: Sequence[ScorerVoice],
        among: Sequence[View],
        now: float,
    ) -> None:
        self.liked: tuple[Sequence[Seat], Sequence[float]] = NOBODY
        self._asked: tuple[Sequence[Seat], Sequence[float], Sequence[float] | None] = (
            *NOBODY,
            None,
        )
        self._among = among
        self._call = call
        self._filters = filters
        self._scorers = scorers
        self._now = now

    def kept(self, seats: Sequence[Seat]) -> Sequence[Seat]:
        """The seats that the filters leave."""
        for each in self._filters:
            seats = each.kept(self._call, seats, self._now)
        return seats

    def factors(self, seats: Sequence[Seat], seconds: Sequence[float]) -> Sequence[float] | None:
        """What the predicted time of each seat is multiplied by; None = nobody says anything.

        Of the same seats and times nobody is asked again: a home, and who else is soonest.
        """
        if seats is self._asked[0] and seconds is self._asked[1]:
            return self._asked[2]
        found: Sequence[float] | None = None
        views = self._among
        if len(seats) < len(views):  # same result without this: then they are all, in order
            views = views_of(seats)
        for each in self._scorers:
            scores = each.said(self._call, views, seconds, self._now)
            if scores is not None:
                found = scores if found is None else list(map(mul, found, scores))
        self.liked = NOBODY if found is None else (seats, found)
        self._asked = seats, seconds, found
        return found
