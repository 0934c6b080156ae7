"""What is promised to one call: its target, and what may be done to keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["first_byte", "total"]
Explores = Literal["first", "late", "never"]
Unmet = Literal["best_effort", "queue", "refuse"]
Step = Literal["best_effort", "fallback", "queue", "refuse"]


@dataclass(slots=True, kw_only=True)
class Terms:
    """A call's, of its SLO class, modality and size.

    `phase`: the one that is judged first: `first_byte` of a stream, else `total`.  `serial`: an
    engine works that phase off one call after the other.  `target_s`: of that phase, `longest_s`:
    were the reply as long as it may be.  `between_s`: of the gaps between events, 0 = none.
    `read`: the part of its work that is done by the first event.  `affinity`: see
    `affinity.key_of`.  `explores`: whether it may be spent on finding out if a disqualified engine
    got better.  `unmet`: what happens in the end where no engine will keep it, `away`: but another
    model's may; `late`: up to so many times the target an engine is good enough all the same,
    `sooner`: also before another model is thought of.  `said`: the class itself says the target,
    so how it is kept moves the engine's slots.
    """

    slo: str = ""
    phase: Phase = "total"
    serial: bool = False
    target_s: float = 1.0
    longest_s: float = 1.0
    between_s: float = 0.0
    read: float = 0.0
    affinity: int | None = None
    explores: Explores = "late"
    objective: float = 0.95
    unmet: Unmet = "best_effort"
    away: bool = False
    late: float = 0.0
    sooner: float = 0.0
    said: bool = False
