"""The admin pages of recent requests: a list, and what led to each reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from modgate.api.auth import Caller
from modgate.errors import GatewayError, Refused
from modgate.explain.document import explained, explained_row, listed
from modgate.explain.trails import Trail
from modgate.money.statements import NAME
from modgate.server.json_page import json_page
from modgate.state import State

ONE, ALL = "/admin/v1/requests/{id}", "/admin/v1/requests"
QUERY = ("tenant", "model", "outcome", "limit")
LINES, LINES_AT_MOST = 50, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which of the recent requests are asked for; '' = all."""

    tenant: str = ""
    model: str = ""
    outcome: str = ""
    limit: int = LINES

    @staticmethod
    def of(query: Mapping[str, str]) -> Wish:
        """Refused for a parameter that there is not, or a limit that is none."""
        for name in query:
            if name not in QUERY:
                text = f"there is no such parameter; there are: {', '.join(QUERY)}"
                raise Refused(name[:100], "unknown_parameter", text)
        written = query.get("limit", str(LINES))
        limit = (
            int(written) if written.isascii() and written.isdecimal() and len(written) < 6 else 0
        )
        if not 1 <= limit <= LINES_AT_MOST:
            text = f"'limit' is a number from 1 to {LINES_AT_MOST}"
            raise Refused("limit", "invalid_value", text)
        return Wish(
            tenant=query.get("tenant", ""),
            model=query.get("model", ""),
            outcome=query.get("outcome", ""),
            limit=limit,
        )

    def fits(self, trail: Trail) -> bool:
        """Whether this one is meant; an outcome is an ending, a status or an error's code."""
        receipt = trail.receipt
        outcomes = (receipt.ending, str(receipt.status), receipt.error)
        return (
            self.tenant in ("", receipt.tenant)
            and self.model in ("", receipt.model)
            and (not self.outcome or self.outcome in outcomes)
        )


class RequestPages:
    """Answers `/admin/v1/requests...`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def one(self, request: web.BaseRequest, _: Caller) -> web.StreamResponse:
        """What led to one reply; what is not recent any more is looked for in the ledger."""
        state = self._state
        asked = request.path.rpartition("/")[2]
        if (trail := state.trails.get(asked)) is not None:
            return json_page(explained(trail, state))
        try:
            row = await state.statements.row(asked)
        except GatewayError as error:
            return json_page({"error": error.message}, error.status)
        if row is not None:
            return json_page(explained_row(row, state.gateway().budgets.tariff))
        return json_page({"error": _unknown(asked)}, 404)

    async def all(self, request: web.BaseRequest, _: Caller) -> web.StreamResponse:
        """The recent ones, the newest first."""
        try:
            wish = Wish.of(request.query)
        except Refused as error:
            return json_page({"error": error.message, "field": error.field}, 400)
        trails = self._state.trails
        found = [trail for trail in trails.newest() if wish.fits(trail)]
        page = [listed(trail) for trail in found[: wish.limit]]
        kept = {"requests": len(trails), "bytes": trails.weight}
        return json_page({"requests": page, "has_more": len(found) > len(page), "kept": kept})


def _unknown(asked: str) -> str:
    if NAME.fullmatch(asked) is None:
        return "a request id is req_ and 32 digits 0-9 a-f, as the header x-request-id says it"
    return (
        f"there is no request {asked}: it is not among the recent ones and not in this gateway's "
        "ledger; another gateway may have served it"
    )
