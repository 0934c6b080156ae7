"""When the gateway gives up, and on whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from modgate.api.plan import Call
from modgate.api.select import Phases
from modgate.errors import GatewayError, UpstreamTimedOut
from modgate.units import Units

TOUCH_S = 5.0  # between two notes of what a long request has used
TICK_LEAST_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """When the gateway gives up.  `deadlines`: modality -> phase -> affine seconds.

    `attempts`: modalities that have one for an attempt, too.  `tick_s`: how often a reply is looked
    at, so that none of it is late.
    """

    connect_s: float = 5.0
    idle_s: float = 60.0
    client_stalled_s: float = 30.0
    keep_alive_s: float = 15.0
    body_idle_s: float = 30.0
    reply_bytes: int = 64 << 20
    drained_bytes: int = 16 << 20
    deadlines: Mapping[str, Phases] = field(default_factory=dict)
    attempts: frozenset[str] = field(init=False, default=frozenset())
    tick_s: float = field(init=False, default=TOUCH_S)

    def __post_init__(self) -> None:
        attempts = frozenset(name for name, each in self.deadlines.items() if "attempt" in each)
        object.__setattr__(self, "attempts", attempts)
        least = min(self.keep_alive_s, self.client_stalled_s)
        if least < TOUCH_S:
            object.__setattr__(self, "tick_s", max(TICK_LEAST_S, least / 2))

    def seconds(self, modality: str, phase: str, size: Units) -> float:
        """The deadline of a phase for work of this size."""
        return self.deadlines[modality][phase].seconds(size)

    def first_s(self, modality: str, call: Call) -> float:
        """Until the first event of a stream, or the whole of a reply that comes at once."""
        phase = "total" if call.reply == "whole" else "first_byte"
        return self.seconds(modality, phase, call.size)


def as_asked(headers: Mapping[str, str], seconds: float) -> float:
    """How long a request may take: so many seconds, or fewer where the client's headers say so."""
    return min(seconds, _seconds(headers, "x-request-timeout"))


def silence_s(headers: Mapping[str, str]) -> float:
    """How long its SDK bears silence once the body is sent; then it leaves by itself.

    It raises its own error of a timeout, which a 504 in time would take the place of.
    """
    return _seconds(headers, "x-stainless-read-timeout")


def _seconds(headers: Mapping[str, str], name: str) -> float:
    wanted = headers.get(name)
    if wanted and wanted.replace(".", "", 1).isdecimal() and float(wanted) > 0:
        return float(wanted)
    return inf


def too_long() -> GatewayError:
    """What ends a request whose time is over."""
    return UpstreamTimedOut("the request took longer than its deadline")
