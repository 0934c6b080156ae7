"""What the log says of plugins: what they raised, and for how long they kept the event loop.

Nothing can stop code in the loop, and all other requests wait for it, so it is told of.  A step is
what a plugin does without a wait: `shape` up to its next Need, `feed` of what came at once,
`close`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from modgate.errors import GatewayError

if TYPE_CHECKING:
    from modgate.draft import Draft
    from modgate.gateway import Gateway

log = logging.getLogger(__name__)

SLOW_S = 0.05
AGAIN_S = 60.0

StepEnded = Callable[[str, float], None]  # a step that is over, and when it began by `perf_counter`


@dataclass(slots=True)
class Complaints:
    """Tells of what one request's plugin did.

    `_told`: when a slow step was, by plugin and step: once a minute, so that the log does not fill.
    """

    timer: Callable[[], float] = perf_counter
    _told: dict[tuple[str, str], float] = field(default_factory=dict)

    def fault(self, gateway: Gateway, draft: Draft, error: BaseException) -> None:
        """It raised what it must not."""
        fault = error.message if isinstance(error, GatewayError) else type(error).__name__
        about = {"fault": fault, "plugin": gateway.whose(error, draft)}
        log.error("fault", extra={**_ids(draft), **about}, exc_info=raised_by(error))

    def step_ended(self, gateway: Gateway, draft: Draft, step: str, began: float) -> None:
        """A step of it is over."""
        now = self.timer()
        if now - began <= SLOW_S:
            return
        plugin = gateway.whose(None, draft)
        if now - self._told.get((plugin, step), -AGAIN_S) < AGAIN_S:
            return
        self._told[plugin, step] = now
        about = {"plugin": plugin, "step": step, "ms": round((now - began) * 1000)}
        log.warning("slow step", extra={**_ids(draft), **about})


def raised_by(error: BaseException | None) -> BaseException | None:
    """What a plugin raised: an error of ours is only what became of it."""
    return error.__cause__ if isinstance(error, GatewayError) else error


def _ids(draft: Draft) -> dict[str, str]:
    return {"request_id": draft.request_id, "trace_id": draft.trace.trace_id}
