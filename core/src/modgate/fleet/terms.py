"""What is promised to one call: its target, and what may be done to keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Phase = Literal["first_byte", "total"]
Promised = Literal["first_byte", "between", "total"]
Out = frozenset[tuple[str, Promised]]  # SLO classes that an engine is disqualified for, and in what
Explores = Literal["first", "late", "never"]
Unmet = Literal["best_effort", "queue", "refuse"]
Step = Literal["best_effort", "fallback", "queue", "refuse"]


class Common(NamedTuple):
    """What is promised alike to all calls of an SLO class, in one phase of a modality; see `Terms`.

    In its order, so that a call's terms are these and its own.
    """

    slo: str
    phase: Phase
    serial: bool
    explores: Explores
    objective: float
    between_objective: float
    unmet: Unmet
    away: bool
    late: float
    sooner: float
    said: bool


@dataclass(slots=True)
class Terms:
    """What is promised to one call, by its SLO class, modality and size.

    `phase`: the one that is judged first, `first_byte` of a stream, else `total`.  `serial`: an
    engine does that phase of one call after the other.  `explores`: whether the call may be spent
    on finding out if a disqualified engine got better.  `objective`: the share of calls that keep
    the target; `between_objective`: the share of streams that keep theirs of gaps.

    `unmet`: what happens in the end where no engine will keep the promise; `away`: whether another
    model may be asked before.  `late`: how many times the target is still good enough then;
    `sooner`: the same, before another model is asked.  `said`: the class itself has the target, so
    that keeping it moves the engine's slots.

    `target_s`: of the phase; `longest_s`: the same for the longest reply that is allowed.
    `between_s`: the target of the mean gap between events, 0 = none.  `read`: the part of the work
    that is done by the first event.  `affinity`: see `affinity.key_of`.
    """

    slo: str = ""
    phase: Phase = "total"
    serial: bool = False
    explores: Explores = "late"
    objective: float = 0.95
    between_objective: float = 0.95
    unmet: Unmet = "best_effort"
    away: bool = False
    late: float = 0.0
    sooner: float = 0.0
    said: bool = False
    target_s: float = 1.0
    longest_s: float = 1.0
    between_s: float = 0.0
    read: float = 0.0
    affinity: int | None = None

    @property
    def allowed(self) -> Sequence[tuple[Promised, float]]:
        """The judged phases, each with the share of calls that may break its target."""
        first: tuple[Promised, float] = self.phase, 1 - self.objective
        return (first, ("between", 1 - self.between_objective)) if self.between_s else (first,)

    def barred(self, out: Out) -> bool:
        """Whether an engine is disqualified for this call."""
        slo = self.slo
        return (slo, self.phase) in out or (self.between_s > 0 and (slo, "between") in out)
