"""What a checker says of a key or token, and how a check that must wait goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from modgate.api.auth import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When, and from where, a request came.

    `now`: of a clock that never goes back; `wall`: unix seconds; `client`: the trusted address.
    """

    now: float
    wall: float
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """It is good, whose it is, and for how long that may be remembered."""

    caller: Caller
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """It is refused; `message` is for the client and repeats nothing that it sent.

    `counted`: as a failed attempt.  A token that was good until it ran out is none.
    """

    message: str
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Later:
    """It cannot be said without asking somebody; `answer()` asks, within a deadline of its own."""

    answer: Callable[[], Awaitable[Good | Bad | None]]


Verdict = Good | Bad | Later | None


class Checker(Protocol):
    """Checks what is no key of modgate's own: tokens of issuers, and what plugins know."""

    def check(self, text: str, at: Moment) -> Verdict:
        """None when it is nothing that this checker knows; GatewayError when it cannot be said."""
        ...


class Pending(Exception):
    """A caller who is not known yet; `caller()` waits for what must be asked."""

    def __init__(self, caller: Callable[[], Awaitable[Caller]]) -> None:
        super().__init__("not known yet")
        self.caller = caller
