"""The rule between three oracles: what the engine was sent and wrote, what a client read, a bill.

Source: issue 2, point 6.  Ended ok: all three are equal.  Cut short: client <= ledger <= engine,
not exact, and what the ledger has beyond the client is at most one event plus what the sockets
held.  Never sent: 0.  No frame lost, none twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from oracle.client import ClientRecord
from oracle.record import Record
from oracle.words import ASR_RATE, Modality, add

Ending = Literal["ok", "refused", "gone", "timeout", "killed", "unsent"]
ENDINGS: tuple[Ending, ...] = ("ok", "refused", "gone", "timeout", "killed")

_SAMPLES_MS = ASR_RATE // 1000


class LedgerRow(TypedDict, total=False):
    """One `end` frame of the ledger, as the test read it; units by full name."""

    request_id: str
    tenant: str
    modality: str
    units: Mapping[str, int]
    exact: bool
    outcome: str
    attempts: Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one unit is compared.

    `written`: the engine writes it (tokens, audio), so a cut reply may be billed one event beyond
    what the client read; a unit that the engine is sent (audio, pages) is billed by the call.
    """

    unit: str
    written: bool = False


RULES: dict[Modality, tuple[Rule, ...]] = {
    "llm": (Rule(unit="llm.input_tokens"), Rule(unit="llm.output_tokens", written=True)),
    "vlm": (
        Rule(unit="vlm.input_tokens"),
        Rule(unit="vlm.images"),
        Rule(unit="vlm.output_tokens", written=True),
    ),
    "asr": (Rule(unit="asr.audio_ms"),),
    "tts": (Rule(unit="tts.characters"), Rule(unit="tts.speech_ms", written=True)),
    "ocr": (Rule(unit="ocr.pages"),),
    "embedding": (Rule(unit="embedding.inputs"), Rule(unit="embedding.input_tokens")),
    "rerank": (Rule(unit="rerank.documents"),),
}
_NATIVE = tuple(rule.unit for rules in RULES.values() for rule in rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request, from all sides.

    `calls`: what the engine has of it, side calls left out.  `rows`: its frames in the ledger.
    """

    client: ClientRecord
    calls: tuple[Record, ...]
    rows: tuple[LedgerRow, ...]
    request_id: str | None

    @property
    def name(self) -> str:
        """How a violation names it."""
        return f"{self.client.modality} tag {self.client.tag} ({self.request_id or 'no id'})"

    @property
    def ending(self) -> Ending:
        """How it ended, by the evidence and not by the plan."""
        if self.client.ended == "ok":
            return "ok"
        if not self.calls:
            return "unsent"
        if self._refused():
            return "refused"
        if self.client.ended == "cut":
            return "gone"
        if any(call.broken_by not in (None, "silence") for call in self.calls):
            return "killed"
        return "timeout"

    def _refused(self) -> bool:
        """Every call was refused, or given up unanswered since another was: the client was told."""
        told = [call for call in self.calls if call.refused]
        unanswered = all(call.status is None for call in self.calls if not call.refused)
        heard = any(call.status == self.client.status for call in told)
        return len(told) == len(self.calls) or (heard and unanswered)


def cases(
    engine: Iterable[Record], clients: Iterable[ClientRecord], rows: Iterable[LedgerRow]
) -> list[Case]:
    """Bring together what belongs to one request: by its id, or by its tag if no id came back."""
    by_id: dict[str, list[Record]] = {}
    by_tag: dict[int, list[Record]] = {}
    for record in engine:
        if record.modality is not None or not record.whole:
            by_id.setdefault(record.request_id, []).append(record)
            for tag in record.tags:
                by_tag.setdefault(tag, []).append(record)
    frames: dict[str, list[LedgerRow]] = {}
    for row in rows:
        frames.setdefault(row["request_id"], []).append(row)
    found = []
    for client in clients:
        tagged = by_tag.get(client.tag, [])
        request_id = client.request_id or next((record.request_id for record in tagged), None)
        # A batched call carries the id of one of its members only.  Indices repeat between engines.
        calls = {id(record): record for record in by_id.get(request_id or "", [])}
        calls |= {id(record): record for record in tagged if len(record.tags) > 1}
        mine = tuple(frames.get(request_id or "", ()))
        ordered = tuple(sorted(calls.values(), key=lambda record: record.arrived_at))
        found.append(Case(client=client, calls=ordered, rows=mine, request_id=request_id))
    return found


def compare(
    engine: Iterable[Record],
    clients: Iterable[ClientRecord],
    rows: Iterable[LedgerRow],
    *,
    slack: Mapping[str, int] | None = None,
    bill: Literal["sent", "wrote"] = "sent",
) -> list[str]:
    """Hold all three together; every line of the answer is a violation.

    `slack`: by unit, what a cut reply may be billed beyond one event and what the sockets held.
    `bill`: the most that a cut call may cost: what the engine was sent, or (for broken engines)
    only what it answered with something good.
    """
    frames = list(rows)
    found = cases(engine, clients, frames)
    wrong = _frames(found, frames)
    for case in found:
        wrong += [f"{case.name}: {note}" for note in case.client.notes]
        if len(case.rows) == 1:
            wrong += _case(case, case.rows[0], slack or {}, bill)
    return wrong


def endings(
    engine: Iterable[Record], clients: Iterable[ClientRecord], rows: Iterable[LedgerRow] = ()
) -> Counter[tuple[Modality, Ending]]:
    """How often each modality really ended in each way."""
    found = cases(engine, clients, rows)
    return Counter((case.client.modality, case.ending) for case in found)


def _frames(found: Sequence[Case], frames: Sequence[LedgerRow]) -> list[str]:
    """No frame lost, none twice, none of nobody's."""
    wrong = []
    for case in found:
        if len(case.rows) > 1:
            wrong.append(f"{case.name}: {len(case.rows)} frames in the ledger")
        if case.calls and not case.rows:
            wrong.append(f"{case.name}: the engine was sent it, the ledger has no frame")
    known = {case.request_id for case in found}
    strangers = [row for row in frames if row["request_id"] not in known]
    for row in strangers:
        # Every request counts as one and has its bytes; only native units must have been sent.
        if any(row.get("units", {}).get(unit) for unit in _NATIVE):
            wrong.append(f"{row['request_id']}: billed, but no client and no engine knows it")
    nameless = sum(1 for case in found if case.request_id is None)
    if len(strangers) > nameless:
        wrong.append(f"{len(strangers)} frames of requests that nobody sent ({nameless} nameless)")
    return wrong


def _case(
    case: Case, row: LedgerRow, slack: Mapping[str, int], bill: Literal["sent", "wrote"]
) -> list[str]:
    wrong = []
    if row.get("modality", case.client.modality) != case.client.modality:
        wrong.append(f"the ledger says {row.get('modality')}")
    if "attempts" in row and len(row["attempts"]) < len(case.calls):
        wrong.append(f"{len(row['attempts'])} attempts billed, {len(case.calls)} calls arrived")
    for rule in RULES[case.client.modality]:
        billed = row.get("units", {}).get(rule.unit, 0)
        match case.ending:
            case "ok":
                wrong += _equal(case, rule, billed)
            case "unsent" | "refused":
                if billed:
                    wrong.append(f"{rule.unit}: {billed} billed for nothing ({case.ending})")
            case "gone" | "timeout" | "killed":
                wrong += _between(case, rule, billed, slack.get(rule.unit, 0), bill)
    wrong += _exactness(case, row)
    return [f"{case.name}: {text}" for text in wrong]


def _equal(case: Case, rule: Rule, billed: int) -> list[str]:
    """Ended ok: all three have the same; what a client cannot see it does not say."""
    made = _made(case, rule, "answered")
    read = case.client.units.get(rule.unit)
    # The tokens of one member of a batch are the gateway's share of a sum.
    shared = rule.unit.endswith("_tokens") and any(len(call.tags) > 1 for call in case.calls)
    said = all(call.script.usage for call in case.calls)
    if rule.unit.endswith("input_tokens") and (shared or not said):
        return [] if read in (None, billed) else [f"{rule.unit}: {read} read, {billed} billed"]
    if made == billed and read in (None, billed):
        return []
    return [f"{rule.unit}: engine {made}, ledger {billed}, client {read}, ended ok"]


def _between(
    case: Case, rule: Rule, billed: int, slack: int, bill: Literal["sent", "wrote"]
) -> list[str]:
    """Cut short: client <= ledger <= engine, and no more than an event beyond the client."""
    read = case.client.units.get(rule.unit, 0)
    made = _made(case, rule, "served" if bill == "wrote" else "sent")
    wrong = []
    if billed < read:
        wrong.append(f"{rule.unit}: the client read {read}, the ledger has {billed}")
    if billed > made:
        wrong.append(f"{rule.unit}: the ledger has {billed}, the engine {made}")
    if rule.written and case.client.countable:
        event = max((call.largest.get(rule.unit, 0) for call in case.calls), default=0)
        held = case.client.held.get(rule.unit, 0)
        if billed - read > event + held + slack:
            wrong.append(
                f"{rule.unit}: {billed} billed, {read} read, {held} held: more than one event"
            )
    return wrong


def _exactness(case: Case, row: LedgerRow) -> list[str]:
    """A cut bill is a floor; a whole one is exact if the engine said what it used."""
    exact = row.get("exact")
    match case.ending:
        case "ok":
            said = all(call.script.usage and len(call.tags) <= 1 for call in case.calls)
            return ["ended ok, but the bill is not exact"] if said and exact is False else []
        case "gone" | "timeout" | "killed":
            return ["cut short, but the bill is exact"] if exact and not _whole(case, row) else []
        case "unsent" | "refused":
            return []


def _whole(case: Case, row: LedgerRow) -> bool:
    """Everything was answered and billed: the client left when the sockets had it all."""
    billed = row.get("units", {})
    return all(call.answered for call in case.calls) and all(
        billed.get(rule.unit, 0) == _made(case, rule, "answered")
        for rule in RULES[case.client.modality]
    )


def _made(case: Case, rule: Rule, which: Literal["answered", "served", "sent"]) -> int:
    """What the engine has of a unit: of calls answered to the end, answered at all, or sent."""
    picked = [call for call in case.calls if not call.refused]
    if which == "answered":
        picked = [call for call in picked if call.answered]
    elif which == "served" and not rule.written:
        picked = [call for call in picked if call.served]
    if rule.written:
        return add(*(call.wrote for call in picked)).get(rule.unit, 0)
    sent = add(*(call.shares.get(case.client.tag, call.sent) for call in picked))
    if rule.unit == "asr.audio_ms":
        return round(sent.get("asr.audio_samples", 0) / _SAMPLES_MS)
    return sent.get(rule.unit, 0)


def gone_after_ms(engine: Iterable[Record], client: ClientRecord) -> list[float]:
    """How long after the client left the engine's socket knew, for each call still under way.

    A call that the engine never saw the end of counts as infinite; one that had ended, not at all.
    """
    left = client.left_at
    assert left is not None
    mine = [
        record
        for record in engine
        if client.tag in record.tags
        and not (record.ended_at is not None and record.ended_at < left)
    ]
    return [
        (record.gone_at - left) * 1000 if record.gone_at is not None else float("inf")
        for record in mine
        if not record.completed
    ]
