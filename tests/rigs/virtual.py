"""Time that passes only when a test lets it, or when nothing else can happen: the same each run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from modgate.sim.virtual import VirtualLoop, run

P = ParamSpec("P")

__all__ = ["Still", "VirtualLoop", "run", "virtually"]


def virtually(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test in virtual time: its deadlines pass alike on a machine that is idle or busy."""

    @wraps(test)
    def ran(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return ran


class Still:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1.8e9 + self.at
