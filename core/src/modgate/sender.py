"""What goes out to an engine: a call as its dialect writes it, with the headers of the gateway.

The ledger knows of it before a byte leaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from modgate.api.dialect import Dialect
from modgate.api.select import Backend
from modgate.draft import ATTEMPT, Draft
from modgate.errors import GatewayError, Upstream
from modgate.order import Order
from modgate.telemetry.orca import ASKS, FORM, SILENT, Remarks
from modgate.tries import Try
from modgate.upstream.client import Answer, Client
from modgate.upstream.dialer import CONNECT_S

REFUSAL_AT_MOST = 64 << 10


class Sender:
    """Sends calls to the engines of one snapshot.

    `client_of`: a backend's connections; `connect_s`: for a new one of them.  `prepare(backend)`:
    waits until a local engine is ready.  `opened(draft)`: writes the open frame before a request's
    first call.  `sign`: makes the token that names the tenant to an engine.
    """

    def __init__(
        self,
        *,
        client_of: Callable[[Backend], Client],
        prepare: Callable[[str], Awaitable[None]],
        opened: Callable[[Draft], None],
        connect_s: float = CONNECT_S,
        sign: Callable[..., str] | None = None,
        remarks: Remarks = SILENT,
    ) -> None:
        self._client_of = client_of
        self._connect_s = connect_s
        self._prepare = prepare
        self._opened = opened
        self._sign = sign
        self._remarks = remarks

    def meet(self, backends: Iterable[Backend]) -> None:
        """Read the certificates of these backends now, and not with the first call."""
        for backend in backends:
            self._client_of(backend)

    async def send(
        self, order: Order, backend: Backend, dialect: Dialect, tries: Sequence[Try]
    ) -> Answer:
        """Send a call, or a merged one; returns when a good head of the reply has come.

        `tries`: the attempts of the orders that share the trip, in their order.  Raises what the
        dialect says of a refusal, and Unsupported when it cannot express the call: then nothing was
        sent.
        """
        if backend.local:
            await self._prepare(backend.name)
        outgoing, orders = dialect.encode(), order.each
        headers = {**outgoing.headers, **_headers(order.draft, tries[0], orders[0].attempts)}
        if backend.key is not None or backend.sign:
            self._authorize(headers, order, backend, tries[0])
        asks = outgoing.reply == "whole" and self._remarks.ask(backend)
        if asks:
            headers[ASKS] = FORM
        for each, tried in zip(orders, tries, strict=True):
            self._opened(each.draft)
            tried.reply = outgoing.reply
            tried.sent = True
        client = self._client_of(backend)
        answer = await client.send(outgoing.path, outgoing.body, headers, connect_s=self._connect_s)
        for tried in tries:
            tried.status = answer.status
        if asks:
            self._remarks.hear(backend, answer.headers)
        if 200 <= answer.status < 300:
            return answer
        raise await _refusal(answer, dialect)

    def _authorize(
        self, headers: dict[str, str], order: Order, backend: Backend, tried: Try
    ) -> None:
        """Add the engine's own key, or a signed token."""
        if backend.key is not None:
            headers["Authorization"] = f"Bearer {backend.key.reveal()}"
        elif self._sign is not None:
            token = self._sign(
                backend=backend.name,
                tenant=order.caller.tenant,
                request_id=order.draft.request_id,
                attempt=tried.span,
            )
            headers["Authorization"] = f"Bearer {token}"


def _headers(draft: Draft, attempt: Try, number: int) -> dict[str, str]:
    """The headers that go to an engine with every call (wire.md appendix C).

    `number`: of the attempt, from 1; it tells another gateway to leave retries to this one.
    """
    headers = {
        "Accept-Encoding": "identity",
        "User-Agent": "modgate",
        "x-request-id": draft.request_id,
        ATTEMPT: str(number),
        "traceparent": draft.trace.header(attempt.span),
    }
    if draft.trace.state:
        headers["tracestate"] = draft.trace.state
    return headers


async def _refusal(answer: Answer, dialect: Dialect) -> GatewayError:
    """What an engine meant that answered with an error, as far as its body comes."""
    try:
        body = await answer.whole(REFUSAL_AT_MOST)
    except Upstream:
        body = b""
    answer.close()
    return dialect.refusal(answer.status, answer.headers, body)
