"""The way to the shared store of limits: how long it is waited for, and whether it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from modgate.limits.breaker import Breaker
from modgate.limits.levels import Wanted
from modgate.limits.store import Store, StoreDown
from modgate.limits.store_deadline import StoreDeadline, still_wanted

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class StoreLink:
    """A store, and what this gateway knows of its answering.

    `deadline_s`: how long an answer is waited for.
    `ahead_ms`: how far the wall clock, which the store goes by, is ahead of the levels' own time.
    """

    store: Store
    deadline_s: float
    ahead_ms: Callable[[], int] = lambda: 0
    breaker: Breaker = field(default_factory=Breaker)

    async def call(self, asked: Awaitable[T]) -> T:
        """The answer of the store.  TimeoutError or StoreDown when there was none in time."""
        deadline = StoreDeadline(self.deadline_s)
        try:
            async with deadline:
                answer = await asked
            still_wanted()
        except (TimeoutError, StoreDown) as error:
            still_wanted()
            self.failed(error, deadline)
            raise
        self.breaker.answered()
        return answer

    def failed(self, error: Exception, deadline: StoreDeadline) -> None:
        """There was no answer.  It counts against the store, unless our own loop was too late."""
        if isinstance(error, StoreDown) or not deadline.late:
            self.breaker.failed(str(error) or type(error).__name__)

    def in_store_time(self, wanted: Wanted) -> Wanted:
        """The same limits for the store, which forgets a window when its own clock says so."""
        ahead_ms = self.ahead_ms()
        if not ahead_ms:
            return wanted
        return [
            (
                replace(limit, period_ms=limit.period_ms + ahead_ms)
                if limit.kind == "w"
                else limit,
                count,
            )
            for limit, count in wanted
        ]
