"""By what a queue refuses a call: which of its bounds, and how far it was over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modgate.errors import Overloaded
from modgate.fleet.claim import Ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """`of`: the key of `[queue]`, or `deadline`.  `whose`: of all calls or of its tenant's; of a
    deadline, who set it.

    `held`: what there would have been with the call, `most`: what there may be; in calls, bytes, or
    of work seconds of what the pool does.  Of a deadline: the seconds that the call needs, and
    those that it had.
    """

    of: Literal["calls", "body_bytes", "work", "deadline"]
    whose: Literal["all", "tenant"] | Ends = "all"
    held: float
    most: float


class Full(Overloaded):
    """A queue has no room for the call, or its turn does not come in time."""

    def __init__(self, message: str, bound: Bound) -> None:
        super().__init__(message)
        self.bound = bound
