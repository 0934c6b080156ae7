"""Where a receipt goes besides the ledger: metrics, the request log, the trace exporter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Thread

from modgate import tasks
from modgate.api.json import JsonObject
from modgate.api.sink import Receipt
from modgate.observe.metrics import Registry
from modgate.observe.otel import Exporter
from modgate.observe.recorder import Recorder
from modgate.units import UnitTable

requests = logging.getLogger("modgate.request")
log = logging.getLogger(__name__)

TOLD = (
    *("would_refuse", "replay_of", "retry_budget_exhausted", "client_retry", "dry_run"),
    *("counts_differ", "slo", "fallback_for", "fallback_on", "on_disconnect"),
)
LAG_EVERY_S = 0.5
CLOSE_S = 5.0
FRESH_AT_MOST = 32  # receipts; the code that counts them is then warm, and takes half as long
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Observer:
    """Observes receipts; whatever fails here never reaches a request.

    What they say is counted some at a time, and before anybody looks.
    """

    def __init__(self, exporter: Exporter | None = None, *, gen_ai: bool = False) -> None:
        self.registry = Registry()
        self.recorder = Recorder(self.registry, gen_ai=gen_ai)
        self._exporter = exporter
        self._lag = self.registry.histogram(
            "modgate_loop_lag_seconds", "how late the event loop runs a timer", LAG_BOUNDS
        )
        self._task: asyncio.Task[None] | None = None
        self._extra: list[Callable[[Receipt], None]] = []
        self._fresh: list[Receipt] = []  # not counted yet

    def use(self, units: UnitTable, tenants: Collection[str], models: Collection[str]) -> None:
        """The label values of a new snapshot, for receipts from now on."""
        self.count()
        self.recorder.use(units, tenants, models)

    def start(self) -> None:
        """Begin to measure the loop's lag."""
        self._task = asyncio.get_running_loop().create_task(self._measure())

    def also(self, observe: Callable[[Receipt], None]) -> None:
        """Give every receipt to this, too."""
        self._extra.append(observe)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.count()
            self._lag.add((), max(0.0, loop.time() - due))

    def observe(self, receipt: Receipt) -> None:
        """One receipt, one log line."""
        self._fresh.append(receipt)
        if len(self._fresh) >= FRESH_AT_MOST:
            self.count()
        try:
            if self._exporter is not None:
                self._exporter.observe(receipt)
            if requests.isEnabledFor(logging.INFO):
                requests.info("request", extra=line_of(receipt))
            for observe in self._extra:
                observe(receipt)
        except Exception:  # the border of a background concern
            log.exception("receipt", extra={"request_id": receipt.request_id})

    def count(self) -> None:
        """Count what came since the last time."""
        fresh, self._fresh = self._fresh, []
        for receipt in fresh:
            try:
                self.recorder.observe(receipt)
            except Exception:  # the border of a background concern
                log.exception("receipt", extra={"request_id": receipt.request_id})

    async def rendered(self) -> bytes:
        """All metrics as Prometheus text, written out in a thread."""
        self.count()
        registry, looked = self.registry, self.registry.look()
        return await asyncio.get_running_loop().run_in_executor(None, registry.render, looked)

    async def close(self) -> None:
        """Stop measuring, and send what is queued."""
        if self._task is not None:
            await tasks.end([self._task])
        if self._exporter is not None:
            await self._close(self._exporter)

    async def _close(self, exporter: Exporter) -> None:
        """Give it a while.  Its thread is its own: the process waits at its end for a pool's."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            exporter.close()
            with suppress(RuntimeError):  # the loop is closed, for it took too long
                loop.call_soon_threadsafe(closed.set)

        Thread(target=close, name="trace exporter", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await closed.wait()


def line_of(receipt: Receipt) -> JsonObject:
    """The fields of the request's log line."""
    line: JsonObject = {
        "request_id": receipt.request_id,
        "trace_id": receipt.trace_id,
        "tenant": receipt.tenant,
        "key_id": receipt.key_id,
        "route": receipt.route,
        "model": receipt.model,
        "ending": receipt.ending,
        "status": receipt.status,
        "duration_ms": round(receipt.duration_s * 1000, 3),
        "units": dict(receipt.units),
        "exact": receipt.exact,
        "attempts": [
            {"backend": each.backend, "state": each.state, "status": each.status}
            for each in receipt.attempts[:8]
        ],
    }
    if receipt.error:
        line["error"] = receipt.error
    if receipt.client:
        line["client"] = receipt.client
    if receipt.client_request_id:
        line["client_request_id"] = receipt.client_request_id
    if receipt.notes:
        line |= {note: receipt.notes[note] for note in TOLD if receipt.notes.get(note)}
    if receipt.rulings:
        line["policies"] = [ruling.plain() for ruling in receipt.rulings]
    return line
