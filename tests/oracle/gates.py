"""Lock-step: a call writes its next piece only when the test says that the client has the last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from oracle.record import Record


@dataclass(slots=True)
class _Gate:
    """The gated calls of one request that are under way, and releases that none has taken yet."""

    credits: int = 0
    open: dict[int, Record] = field(default_factory=dict)
    waiting: dict[int, asyncio.Future[None]] = field(default_factory=dict)

    def settle(self) -> None:
        """Give releases to the first call of the request that has not ended, and to no other."""
        while self.credits and self.open:
            head = min(self.open.values(), key=lambda record: (record.place, record.index))
            waiter = self.waiting.pop(head.index, None)
            if waiter is None:
                return
            if not waiter.done():
                self.credits -= 1
                waiter.set_result(None)


class Gates:
    """A gate for each request, by its id."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}

    def enter(self, record: Record) -> None:
        """A gated call begins."""
        self._gates.setdefault(record.request_id, _Gate()).open[record.index] = record

    def leave(self, record: Record) -> None:
        """A call has ended, in whatever way; the next call of its request becomes the first."""
        gate = self._gates.get(record.request_id)
        if gate is not None and gate.open.pop(record.index, None) is not None:
            gate.waiting.pop(record.index, None)
            gate.settle()

    async def wait(self, record: Record) -> None:
        """Wait for one release."""
        gate = self._gates[record.request_id]
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gate.waiting[record.index] = waiter
        gate.settle()
        await waiter

    def release(self, request_id: str, pieces: int) -> None:
        """Let the request's first unfinished call write some more pieces."""
        gate = self._gates.setdefault(request_id, _Gate())
        gate.credits += pieces
        gate.settle()

    def clear(self) -> None:
        """Forget everything."""
        self._gates.clear()
