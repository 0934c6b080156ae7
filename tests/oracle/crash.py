"""The same rule where the gateway itself was killed: what a crash leaves is compared exactly.

A request without an end is billed by the last figure that the ledger has of it, else by its
reserve, by estimate; one that ended has its bill, whatever of the reply reached the client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from oracle.client import ClientRecord
from oracle.compare import RULES, Case, LedgerRow, cases, compare
from oracle.record import Record

CRASH = "gateway_crash"
SETTLED_S = 1.0
ANY = 1 << 40  # of a reply that was cut by the gateway's death nobody knows what was under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What the ledger's open frames say of a request: its reserve, and its last figure."""

    modality: str
    reserved: Mapping[str, int]
    touched: Mapping[str, int] | None = None

    @property
    def bill(self) -> dict[str, int]:
        """What a crash makes of it."""
        units = dict(self.reserved if self.touched is None else self.touched)
        return {**units, f"{self.modality}.requests": 1}


@dataclass(slots=True, kw_only=True)
class Verdict:
    """`violations`: none is the aim.  `crashed`: rows by estimate; `unheard`: of those, requests
    that no engine ever saw; `hit`: clients that were under way when the gateway was killed."""

    requests: int
    rows: int
    kills: int
    hit: int
    crashed: int = 0
    touched: int = 0
    unheard: int = 0
    violations: list[str] = field(default_factory=list)


def judge(
    engine: Sequence[Record],
    clients: Sequence[ClientRecord],
    rows: Sequence[LedgerRow],
    opened: Mapping[str, Open],
    kills: Sequence[float],
) -> Verdict:
    """Hold client, engine and ledger together; `kills`: when the gateway was killed (monotonic)."""
    found = cases(engine, clients, rows)
    hit = {case.client.tag for case in found if _was_hit(case.client, kills)}
    verdict = Verdict(requests=len(clients), rows=len(rows), kills=len(kills), hit=len(hit))
    verdict.violations += _twice(rows)
    crashed = [row for row in rows if row["outcome"] == CRASH]
    ended = [row for row in rows if row["outcome"] != CRASH]
    by_id = {case.request_id: case for case in found if case.request_id is not None}
    heard = {record.request_id for record in engine}
    for row in crashed:
        _crash(row, by_id.get(row["request_id"]), opened, hit, verdict)
        verdict.unheard += row["request_id"] not in heard
    gone = {row["request_id"] for row in crashed}
    rest = [case for case in found if case.request_id not in gone]
    near = [case for case in rest if case.client.tag in hit and case.rows]
    known = {case.request_id for case in near}
    far = [case.client for case in rest if case.request_id not in known]
    theirs = [row for row in ended if row["request_id"] in known]
    others = [row for row in ended if row["request_id"] not in known]
    slack = {rule.unit: ANY for rules in RULES.values() for rule in rules}
    verdict.violations += compare(engine, [case.client for case in near], theirs, slack=slack)
    verdict.violations += compare(engine, far, others)
    return verdict


def _was_hit(client: ClientRecord, kills: Iterable[float]) -> bool:
    """Whether a kill came between its beginning and its settling, which is a little after the
    client has its last byte, or has left."""
    return any(client.began_at <= at <= client.ended_at + SETTLED_S for at in kills)


def _twice(rows: Iterable[LedgerRow]) -> list[str]:
    counts = Counter(row["request_id"] for row in rows)
    return [f"{name}: {count} rows" for name, count in counts.items() if count > 1]


def _crash(
    row: LedgerRow,
    case: Case | None,
    opened: Mapping[str, Open],
    hit: set[int],
    verdict: Verdict,
) -> None:
    """One row that a crash left: billed by what the ledger knew of it, and of a killed request."""
    name, said = row["request_id"], opened.get(row["request_id"])
    verdict.crashed += 1
    if said is None:
        verdict.violations.append(f"{name}: ended by a crash and never opened")
        return
    verdict.touched += said.touched is not None
    if dict(row["units"]) != said.bill:
        verdict.violations.append(f"{name}: billed {row['units']}, the ledger knew {said.bill}")
    if row["exact"]:
        verdict.violations.append(f"{name}: a crash is never exact")
    if case is not None and case.client.tag not in hit:
        verdict.violations.append(f"{name}: crashed, but its client {case.client.ended} before")
