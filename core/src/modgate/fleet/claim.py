"""Whose call waits, for how much work, and until when; and what a queue may hold of such calls.

Source: algorithms.md 2.2.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

CLASS_WEIGHTS = {"gold": 8.0, "silver": 3.0, "bronze": 1.0}
CLASS_WEIGHT = CLASS_WEIGHTS["silver"]  # of a class that nobody gave one, and of none
Ends = Literal["timeouts", "patience", "request"]  # of the modality, the class, the client
LEAST_WORK = 1e-3  # or calls of no size would never have had their turn


@dataclass(slots=True, kw_only=True)
class Claim:
    """What a queue must know of a call.

    `weight`: of its tenant among those of its class.  `request`: calls of equal ones are one
    request's.  `work`: in the modality's weighted units.  `body_bytes`: in memory while it waits.
    `since`: when it came, `until`: when its first event must be there, and who says so (`ends`).
    `begun`: its request was worked on.  `key`: calls of equal keys may share a trip; None = it goes
    alone.
    """

    tenant: str = ""
    slo: str = ""
    weight: float = 1.0
    request: Hashable = ""
    modality: str = ""
    work: float = LEAST_WORK
    body_bytes: int = 0
    since: float = 0.0
    until: float = inf
    ends: Ends = "timeouts"
    begun: bool = False
    key: Hashable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """How calls of one model wait.

    `calls`, `body_bytes`: that wait at most; `work_s`: their work, as seconds of what the pool
    does.  `share`: of each of these, what one tenant may have.  `weights`: of SLO classes.
    `patience_s`: by class, how long its calls wait at most.  `hold_s`: how long a call is held for
    an engine, where there is none.  `adaptive`: engines are given as many calls at once as they can
    without being late.
    """

    calls: int = 1000
    body_bytes: int = 256 << 20
    work_s: float = 30.0
    share: float = 0.5
    weights: Mapping[str, float] = field(default_factory=lambda: CLASS_WEIGHTS)
    patience_s: Mapping[str, float] = field(default_factory=dict)
    hold_s: float = 0.0
    adaptive: bool = True
