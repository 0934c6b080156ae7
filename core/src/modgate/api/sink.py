"""The record of one request, as sinks, logs, traces and metrics get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from modgate.api.json import JsonObject

Ending = Literal[
    "ok",  # the reply went out whole
    "refused",  # by us, or by the engine with a 4xx
    "client_gone",
    "upstream_failed",
    "timed_out",
    "overloaded",
    "fault",  # ours, or a plugin's
    "gateway_crash",  # written at recovery
]


class Attempt(msgspec.Struct, frozen=True):
    """One try of one call on one backend.

    Times are seconds since the request began; `sent`: bytes reached the wire; `members`: calls that
    shared its trip, itself included, 0 where it rode along in another's.  `broke`: the phases that
    took longer than is promised to the caller's SLO class, with a comma between them.
    `units`: what of the request's units a side call did cost, by full name; None: not told apart.
    """

    call: int
    backend: str
    region: str
    model: str
    began_s: float
    span: str
    family: str = ""
    operation: str = ""
    sent: bool = False
    first_s: float | None = None
    ended_s: float | None = None
    state: str = "pending"
    status: int | None = None
    error: str = ""
    members: int = 1
    broke: str = ""
    units: Mapping[str, int] | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A child step of a request for the trace.

    `shape`, `policy`, `queue`, `select`.  Seconds since the request began.
    """

    name: str
    began_s: float
    ended_s: float


Verdict = Literal["allow", "deny", "narrow", "failed_open", "failed_closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What one policy decided of a request, and how long it took.

    `code`: of its refusal, or of what failed; `late`: its budget was over; `shadow`: this is what
    it would have done, and nothing came of it.
    """

    policy: str
    verdict: Verdict
    seconds: float
    code: str = ""
    late: bool = False
    shadow: bool = False

    def plain(self) -> JsonObject:
        """As the request's log line and the ledger say it."""
        told: JsonObject = {"policy": self.policy, "verdict": self.verdict}
        told["ms"] = round(self.seconds * 1000, 3)
        if self.code:
            told["code"] = self.code
        flags = {"late": self.late, "shadow": self.shadow}
        return told | {name: True for name, on in flags.items() if on}


class Receipt(msgspec.Struct, frozen=True):
    """Who asked for what, what was planned, what was tried, and what it cost.

    `units`: full name -> count, the bill.  `reserved`: full name -> count.  `admitted`: only then
    is it in the ledger.  `regions`: where it may lie; None: everywhere.
    """

    request_id: str
    wall: float
    duration_s: float
    ending: Ending
    status: int
    tenant: str = ""
    key_id: str = ""
    method: str = ""
    route: str = ""
    operation: str = ""
    modality: str = ""
    model: str = ""
    surface: str = ""
    slo: str = ""
    stream: bool = False
    error: str = ""
    units: Mapping[str, int] = {}
    reserved: Mapping[str, int] = {}
    exact: bool = True
    measured_by: str = "gateway"
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[Step, ...] = ()
    first_byte_s: float | None = None
    admitted: bool = False
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    sampled: bool = False
    client_request_id: str = ""
    client: str = ""
    notes: Mapping[str, str] = {}
    rulings: tuple[Ruling, ...] = ()
    regions: frozenset[str] | None = None
