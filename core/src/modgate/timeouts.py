"""When the gateway gives up, and on whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modgate.api.select import Target
from modgate.units import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """When the gateway gives up.  `deadlines`: modality -> phase -> affine seconds."""

    connect_s: float = 5.0
    idle_s: float = 60.0
    client_stalled_s: float = 30.0
    keep_alive_s: float = 15.0
    body_idle_s: float = 30.0
    reply_bytes: int = 64 << 20
    deadlines: Mapping[str, Mapping[str, Target]] = field(default_factory=dict)

    def seconds(self, modality: str, phase: str, size: Units) -> float:
        """The deadline of a phase for work of this size."""
        return self.deadlines[modality][phase].seconds(size)


def asked_seconds(headers: Mapping[str, str]) -> float:
    """How long the client wants to wait at most, by the headers that say so; else for ever."""
    seconds = float("inf")
    for name in ("x-request-timeout", "x-stainless-read-timeout"):
        wanted = headers.get(name)
        if wanted and wanted.replace(".", "", 1).isdecimal() and float(wanted) > 0:
            seconds = min(seconds, float(wanted))
    return seconds
