"""`/v1/usage` and `/v1/usage/{id}`: a tenant's own use and receipts; never another's."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from modgate.api.auth import Caller
from modgate.api.json import Json, JsonObject
from modgate.api.surface import dump
from modgate.clock import epoch_second, iso
from modgate.errors import ReceiptNotFound, Refused
from modgate.ledger.records import Ended
from modgate.money.invoice import GROUPS, Group, Key, Span, StatementLine, decimal, shown_units
from modgate.prices.records import record_of
from modgate.units import UnitTable

if TYPE_CHECKING:
    from modgate.gateway import Gateway

USAGE, RECEIPT = "/v1/usage", "/v1/usage/{id}"
VERSION = 1
# Said only where there is something.
RARE = ("promise", "fallback_for", "fallback_on", "on_disconnect")
OWN: tuple[Group, ...] = tuple(name for name in GROUPS if name != "tenant")
DAY_S = 86_400
DAYS_AT_MOST = 93
LINES, LINES_AT_MOST = 100, 1000
QUERY = ("from", "to", "by", "limit", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question for sums, as its query says it."""

    span: Span
    by: tuple[Group, ...]
    limit: int
    after: Key = ()

    @staticmethod
    def of(query: Mapping[str, str], now: float) -> Asked:
        """Refused for a value that cannot be; by default today (UTC) by model."""
        for name in query:
            if name not in QUERY:
                text = f"there is no such parameter; there are: {', '.join(QUERY)}"
                raise Refused(name[:100], "unknown_parameter", text)
        end = _moment(query, "to", int(now) + 1)
        begin = _moment(query, "from", (end - 1) // DAY_S * DAY_S)
        if not begin < end:
            raise Refused("from", "invalid_value", "'from' is not before 'to'")
        if end - begin > DAYS_AT_MOST * DAY_S:
            text = f"a question is about {DAYS_AT_MOST} days at most"
            raise Refused("from", "invalid_value", text)
        by = _groups(query.get("by", "model"))
        return Asked(
            span=Span(begin=begin, end=end),
            by=by,
            limit=_limit(query.get("limit", str(LINES))),
            after=_key(query["after"], len(by)) if "after" in query else (),
        )

    def following(self, last: Key) -> str:
        """The address of the next page: the same time, however late it is asked for."""
        query = {
            "from": _iso(self.span.begin),
            "to": _iso(self.span.end),
            "by": ",".join(self.by),
            "limit": str(self.limit),
            "after": base64.urlsafe_b64encode(dump(list(last))).decode(),
        }
        return f"{USAGE}?{urlencode(query)}"


def _moment(query: Mapping[str, str], name: str, default: int) -> int:
    if name not in query:
        return default
    try:
        return epoch_second(query[name])
    except (ValueError, OverflowError) as error:
        raise Refused(name, "invalid_value", str(error)) from None


def _groups(written: str) -> tuple[Group, ...]:
    names: list[Group] = []
    for each in written.split(","):
        known = next((group for group in OWN if group == each.strip()), None)
        if known is None:
            text = f"'by' takes, with commas: {', '.join(OWN)}"
            raise Refused("by", "invalid_value", text)
        names.append(known)
    return tuple(dict.fromkeys(names))


def _limit(written: str) -> int:
    if written.isascii() and written.isdecimal() and len(written) < 6:
        limit = int(written)
        if 1 <= limit <= LINES_AT_MOST:
            return limit
    raise Refused("limit", "invalid_value", f"a limit is a number from 1 to {LINES_AT_MOST}")


def _key(written: str, members: int) -> Key:
    import orjson

    try:
        found = orjson.loads(base64.b64decode(written, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if isinstance(found, list) and len(found) == members:
        return tuple(str(each) for each in found)
    raise Refused("after", "invalid_value", "'after' is taken from the 'next' of a page, as it is")


async def usage(gateway: Gateway, caller: Caller, request: web.BaseRequest) -> bytes:
    """A page of sums."""
    asked = Asked.of(request.query, gateway.statements.now())
    tariff = gateway.budgets.tariff
    found = await gateway.statements.sums(asked.span, asked.by, caller.tenant, tariff)
    keys = [key for key in found if not asked.after or key > asked.after]
    page = keys[: asked.limit]
    more = len(keys) > len(page)
    return dump(
        {
            "object": "list",
            "v": VERSION,
            "from": _iso(asked.span.begin),
            "to": _iso(asked.span.end),
            "by": list(asked.by),
            "currency": tariff.books.currency or None,
            "data": [
                {**dict(zip(asked.by, key, strict=True)), **_sum(found[key], gateway.units)}
                for key in page
            ],
            "has_more": more,
            "next": asked.following(page[-1]) if more else None,
        }
    )


def _sum(line: StatementLine, units: UnitTable) -> JsonObject:
    return {
        "requests": line.requests,
        "units": dict(sorted(line.units.items())),
        "shown": shown_units(line.units, units),
        "exact": line.exact,
        "cost": decimal(line.micro),
        "cost_micro": line.micro,
        "adjusted_micro": line.adjusted,
        "unpriced_requests": line.unpriced,
    }


async def receipt(gateway: Gateway, caller: Caller, request: web.BaseRequest) -> bytes:
    """One request's receipt, with its price lines."""
    asked = request.path.rstrip("/").removeprefix(USAGE + "/")
    row = await gateway.statements.receipt(asked, caller.tenant)
    if row is None:
        text = f"there is no receipt of a request `{asked[:100]}` of yours"
        raise ReceiptNotFound(text)
    tariff = gateway.budgets.tariff
    cost, later = record_of(tariff.rated(row)), tariff.corrected(row)
    correction = record_of(later) if later is not None else None
    return dump({**receipt_of(row, gateway.units), "cost": cost, "correction": correction})


def receipt_of(row: Ended, units: UnitTable) -> JsonObject:
    """A row as its tenant reads it: all that is billed, and nothing of how we are built."""
    rare = {name: said for name in RARE if (said := getattr(row, name))}
    return {
        "object": "receipt",
        "v": VERSION,
        "id": row.id,
        "began": _iso(row.wall),
        "duration_ms": round(row.duration_s * 1000),
        "ending": row.ending,
        "status": row.status,
        "error": row.error or None,
        "key": row.key_id,
        "route": row.route,
        "modality": row.modality,
        "model": row.model,
        "stream": row.stream,
        "units": dict(sorted(row.units.items())),
        "shown": shown_units(row.units, units),
        "reserved": dict(sorted(row.reserved.items())),
        "exact": row.exact,
        "measured_by": row.by,
        "attempts": [_attempt(each) for each in row.attempts],
        **rare,
    }


def _attempt(attempt: JsonObject) -> JsonObject:
    said: dict[str, Json] = {name: attempt.get(name) for name in ("call", "model", "region")}
    said |= {"state": attempt.get("state"), "status": attempt.get("status")}
    return said | ({"broke": broke} if (broke := attempt.get("broke")) else {})


def _iso(wall: float) -> str:
    return iso(wall, "milliseconds" if wall % 1 else "seconds")
