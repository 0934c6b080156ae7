"""What led to a reply, as a document: for the admin page of a request and `modgate explain`.

Made when somebody asks, of what the request left (trails.py); of one that is forgotten there, of
its row in the ledger, which says less.  There is no content in it and no secret: names, numbers,
and the words of our own limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from modgate.api.json import Json, JsonObject
from modgate.api.price import BUDGET, MONEY
from modgate.clock import iso
from modgate.explain.calls import ATTEMPTS_AT_MOST, asked_s, attempts_of, judged, ms, waits_of
from modgate.explain.trails import Trail
from modgate.fleet.bound import Bound
from modgate.ledger.records import Ended, ended_of
from modgate.limits.rates import MetRate
from modgate.money.invoice import Tariff
from modgate.prices.records import record_of
from modgate.units import REQUESTS, UnitTable

if TYPE_CHECKING:
    from modgate.state import State

NOTED = ("would_refuse", "fallback_for", "fallback_on")
WHOSE = {
    "all": "all",
    "tenant": "the tenant's share",
    "timeouts": "[timeouts]",
    "patience": "[queue] patience",
    "request": "the request's own",
}
TOLD = ("x-modgate-", "x-ratelimit-", "anthropic-ratelimit-")
TOLD_TOO = ("retry-after", "retry-after-ms", "x-should-retry", "x-request-id")


def explained(trail: Trail, state: State) -> JsonObject:
    """All that is known of a recent request."""
    gateway, draft = state.gateway(), trail.draft
    row = ended_of(trail.receipt)
    return {
        **_head(row, "recent"),
        "method": trail.receipt.method,
        "client_request_id": draft.client_request_id or None,
        "deadline_ms": ms(draft.due_s) if draft.due_s < float("inf") else None,
        "notes": dict(draft.notes),
        "limits": _limits(trail, state),
        "policies": [ruling.plain() for ruling in draft.rulings],
        "steps": [
            {"step": each.name, "began_ms": ms(each.began_s), "ended_ms": ms(each.ended_s)}
            for each in draft.steps[:ATTEMPTS_AT_MOST]
        ],
        "waits": waits_of(draft),
        "queue": _bound(trail.bound),
        "attempts": attempts_of(draft, gateway),
        "attempts_in_all": len(draft.tries),
        "slo": _verdict(trail, state),
        "units": _units(row.reserved, row.units, gateway.units),
        "cost": _cost(row, gateway.budgets.tariff),
        "first_byte_ms": ms(draft.first_byte_s),
        "headers": _shown_headers(draft.reply_headers or {}),
    }


def explained_row(row: Ended, tariff: Tariff) -> JsonObject:
    """What the ledger says of a request that is not recent any more."""
    return {
        **_head(row, "ledger"),
        "notes": {name: value for name in NOTED if (value := getattr(row, name))},
        "policies": list(row.policies),
        "attempts": [_attempt_of_row(each) for each in row.attempts[:ATTEMPTS_AT_MOST]],
        "attempts_in_all": len(row.attempts),
        "units": _units(row.reserved, row.units, tariff.units),
        "cost": _cost(row, tariff),
        "first_byte_ms": ms(row.first_byte_s),
    }


def listed(trail: Trail) -> JsonObject:
    """A recent request in a line."""
    receipt = trail.receipt
    last = receipt.attempts[-1] if receipt.attempts else None
    return {
        "id": receipt.request_id,
        "began": iso(receipt.wall, "milliseconds"),
        "duration_ms": ms(receipt.duration_s),
        "tenant": receipt.tenant,
        "model": receipt.model or None,
        "outcome": receipt.ending,
        "status": receipt.status,
        "error": receipt.error or None,
        "attempts": len(receipt.attempts),
        "backend": last.backend if last is not None else None,
    }


def _head(row: Ended, kept: str) -> JsonObject:
    return {
        "object": "explanation",
        "id": row.id,
        "kept": kept,
        "began": iso(row.wall, "milliseconds"),
        "duration_ms": ms(row.duration_s),
        "outcome": row.ending,
        "status": row.status,
        "error": row.error or None,
        "tenant": row.tenant,
        "key": row.key_id,
        "route": row.route,
        "modality": row.modality or None,
        "model": row.model or None,
        "operation": row.operation or None,
        "surface": row.surface or None,
        "class": row.slo or None,
        "stream": row.stream,
        "trace_id": row.trace_id or None,
        "exact": row.exact,
        "measured_by": row.by,
    }


def _attempt_of_row(attempt: JsonObject) -> JsonObject:
    def seconds(name: str) -> float | None:
        found = attempt.get(name)
        return ms(float(found)) if isinstance(found, int | float) else None

    told = {
        name: attempt.get(name)
        for name in ("call", "model", "backend", "region", "family", "state", "status", "error")
    }
    return told | {
        "broke": attempt.get("broke"),
        "sent": attempt.get("sent", False),
        "shared_by": attempt.get("members", 1),
        "began_ms": seconds("began_s"),
        "first_event_ms": seconds("first_s"),
        "ended_ms": seconds("ended_s"),
    }


def _verdict(trail: Trail, state: State) -> JsonObject | None:
    """Of the request: its worst call that was answered."""
    draft, gateway = trail.draft, state.gateway()
    asked, shares = asked_s(draft), []
    for tried in draft.tries:
        found = judged(tried, draft, gateway) if tried.state == "ok" else None
        lost_s = tried.began_s - asked[tried.call]
        if found is not None and (share := found.worst(lost_s)) is not None:
            shares.append(share)
    if not shares:
        return None
    return {
        "kept": max(shares) <= 1,
        "worst_share": round(max(shares), 4),
        "calls": len(shares),
        "late": sum(share > 1 for share in shares),
        "told": draft.notes.get("slo"),
    }


def _cost(row: Ended, tariff: Tariff) -> JsonObject | None:
    """By the book in force when it began, as its tenant's receipt says it; None without a book."""
    return record_of(tariff.rated(row)) if row.units and tariff.books.currency else None


def _units(
    reserved: Mapping[str, int], used: Mapping[str, int], table: UnitTable
) -> dict[str, Json]:
    def shown(counts: Mapping[str, int], name: str) -> Json:
        if name not in counts:
            return None
        unit = table.units.get(name)
        return unit.outside(counts[name]) if unit is not None else str(counts[name])

    return {
        table.public(name): {"reserved": shown(reserved, name), "used": shown(used, name)}
        for name in sorted({*reserved, *used})
    }


def _limits(trail: Trail, state: State) -> JsonObject:
    kept = "here"
    if state.shared is not None:
        kept = "a share here: the store did not answer" if trail.apart else "at the store"
    return {
        "kept": kept,
        "refusal": trail.refusal or None,
        "would_refuse": trail.draft.notes.get("would_refuse"),
        "met": list(_met(trail)),
    }


def _bound(bound: Bound | None) -> JsonObject | None:
    """What a queue had no room for, or no time."""
    if bound is None:
        return None
    seconds = bound.of in ("work", "deadline")
    return {
        "refused_by": bound.of,
        "of": WHOSE[bound.whose],
        "unit": "seconds" if seconds else "bytes" if bound.of == "body_bytes" else "calls",
        "wanted": round(max(0.0, bound.held), 3),
        "at_most": round(max(0.0, bound.most), 3),
    }


def _met(trail: Trail) -> Iterator[JsonObject]:
    """Each limit that counted for this request, with what it reserved of it."""
    draft, terms = trail.draft, trail.terms
    if terms is None:
        return
    fronts = (draft.modality, MONEY) if draft.modality else ()
    tolls = [terms.guards, *(terms.of_model(front, draft.model) for front in fronts)]
    rates = draft.rates if len(draft.rates) == len(terms.all) else (None,) * len(terms.all)
    for met, view in zip(terms.all, rates, strict=True):
        if not any(met in toll for toll in tolls):
            continue
        told: JsonObject = {
            "limit": _name(met),
            "per": met.rate.period,
            "scope": _scope(met, trail),
            "amount": _shown(met.rate.amount, met),
            "reserved": _reserved(met, trail),
            "left_at_reply": view.remaining if view is not None else None,
            "verdict": "shadow" if met.rate.shadow else "allowed",
        }
        yield told | _denied(met, trail)


def _denied(met: MetRate, trail: Trail) -> JsonObject:
    if trail.refused is None:
        return {}
    part, denied = trail.refused
    for index, (limit, count) in enumerate(part.wanted):
        if limit is met.limit:
            level = part.before[index]
            before = -(-level // limit.period_ms) if limit.kind == "b" else level
            told: JsonObject = {
                "reserved": None,
                "wanted": _shown(count, met),
                "level_before": _shown(before, met),
            }
            if index == denied.index:
                told |= {"verdict": "denied", "wait_ms": denied.wait_ms}
            return told
    return {}


def _reserved(met: MetRate, trail: Trail) -> Json:
    """As it was counted; of what is reserved in money nothing is noted."""
    name = met.rate.unit
    if name.rpartition(".")[2] == REQUESTS:
        return 1
    count = trail.draft.reserved.get(name)
    return None if count is None else _shown(count, met)


def _name(met: MetRate) -> str:
    if met.rate.unit == BUDGET:  # as the file and the headers have it
        return met.shown
    front, dot, _ = met.rate.unit.rpartition(".")
    return f"{front}{dot}{met.shown}"


def _scope(met: MetRate, trail: Trail) -> str:
    scope = f"key {trail.receipt.key_id}" if met.rate.each_key else "tenant"
    return f"{scope}, model {met.rate.model}" if met.rate.model else scope


def _shown(count: int, met: MetRate) -> float:
    return count / met.scale if met.scale != 1 else count


def _shown_headers(headers: Mapping[str, str]) -> dict[str, Json]:
    """Those that the gateway made; what a plugin added may be of the content."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower().startswith(TOLD) or name.lower() in TOLD_TOO
    }
