"""Where a call may go: backends, and the latency that is promised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from modgate.api.secret import Secret
from modgate.units import Units

PHASES = ("first_byte", "between", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Seconds for one phase: `base_s + per_unit * n`; an objective of 0.95 means 95 of 100 keep it.

    `per_unit` is seconds by short unit name, in the units that are counted (not those shown).
    """

    base_s: float
    per_unit: Mapping[str, float] = field(default_factory=dict)
    objective: float = 0.95

    def seconds(self, size: Units) -> float:
        """The target for work of this size."""
        seconds = self.base_s
        for name, each in self.per_unit.items():
            seconds += each * size.get(name, 0)
        return seconds


Phases = Mapping[str, Target]
Targets = Mapping[str, Mapping[str, Phases]]  # by SLO class, modality and phase

Reason = Literal[
    "unmet",  # no backend of it will keep the promise
    "failed",  # its backends were tried, and failed
    "unavailable",  # no backend of it is there, or none is healthy
]
REASONS = get_args(Reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A model that stands in for another one, and what for."""

    model: str
    on: frozenset[Reason] = frozenset(REASONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One engine, configured or discovered.

    `serves`: our model name -> the engine's.  `slots`: calls it takes at once, and
    as many as `slots_at_most` while targets are kept; `group`: backends of one group share theirs.
    `offers`: kind -> values that `Call.requires` may ask for; a kind
    that is absent refuses nothing. `socket`: a unix socket's path, in place of TCP.  `ca`: the PEM
    file by which its certificate is judged, in place of the system's authorities.  `sign`: its
    calls carry a token of ours.  `metrics`: where its metrics are, '' = where its family has them;
    `metrics_family`: whose they are, '' = the family's.  `uid`: what its discoverer knows it by, ''
    for one of the file; `draining`: it is going away and takes no new calls while another is there.
    """

    name: str
    family: str
    url: str
    serves: Mapping[str, str]
    region: str = ""
    hardware: str = ""
    slots: int = 16
    slots_at_most: int = 0
    group: str = ""
    offers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    key: Secret | None = None
    sign: bool = False
    ca: str = ""
    socket: str = ""
    local: bool = False
    metrics: str = ""
    metrics_family: str = ""
    uid: str = ""
    draining: bool = False

    @property
    def identity(self) -> str:
        """What State is kept by: the engine's uid or address, not its name in the file."""
        if self.uid:
            return self.uid
        return f"unix:{self.name}" if self.socket else self.url.rstrip("/")


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model at one backend: what the client asked for, our name, and the engine's name for it."""

    asked: str
    model: str
    name: str

    def as_asked(self, text: str) -> str:
        """An engine's text with the asked name in place of its own, where that is a word of it."""
        return re.sub(rf"(?<!\w){re.escape(self.name)}(?!\w)", lambda _: self.asked, text)


def base_url(text: str) -> str:
    """What is wrong with an engine's URL, to which paths are put; '' when nothing is."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("http", "https") or "@" in text:
        return "must begin with http:// or https://, without a user; a key goes into 'key'"
    if not host:
        return "names no host"
    if len(text.split()) != 1 or text != text.strip():
        return "has a space in it"
    if "?" in text or "#" in text:
        return "paths are put behind it: leave out what begins with '?' or '#'"
    if parts.path.rstrip("/").endswith("/v1"):
        return "paths are put behind it, and begin with /v1: leave that out"
    return ""
