"""Feeding one plan's relay, and sending what it makes of that.

Two ways lead through a relay.  `feed` and `close` run in the request's task, or a thread where the
relay is heavy, and wait for a slow client.  `flow` is most of a stream: it feeds what comes in the
transport's own callback, so that no task is woken for each piece, and ends where one must wait.
On both, what the relay has made, and so has counted, is sent before its error ends the reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Protocol

from modgate.api.relay import Event, Head, Outcome, Relay, fed
from modgate.complaints import SLOW_S, StepEnded
from modgate.errors import BadReply, GatewayError, PluginFault
from modgate.faults import RAISED, raised
from modgate.heavy import BITE_S, HeavyRelay, longer
from modgate.trip import Trip

YIELDS_AT_MOST = 1000  # at a time, then others have a turn: a relay without an end harms none
EMPTY_AT_MOST = 1_000_000  # pieces without a byte between them: no reader ever ends those


class Sink(Protocol):
    """Where the bytes of a reply go: a `Responder`."""

    @property
    def opened(self) -> bool:
        """Whether a byte of the reply may have left."""
        ...

    @property
    def abandoned(self) -> bool:
        """Whether the client left and the calls under way are finished all the same."""
        ...

    async def emit(self, head: Head, data: Sequence[bytes]) -> None:
        """Send bytes, on SSE whole events; waits while the client does not read."""
        ...

    def pour(self, data: Sequence[bytes]) -> bool:
        """Send more of an open reply without a wait; False: wait for `room` before the next."""
        ...

    async def room(self) -> None:
        """Wait until the client has read enough; Cancelled when it is gone."""
        ...


class Feeding:
    """One plan's relay at work.

    Raises the relay's own GatewayErrors, PluginFault for whatever else its code raises, and what
    the sink raises.  `step_ended`: told of a step of the relay that kept the event loop for long.
    """

    def __init__(self, relay: Relay, *, sink: Sink, pool: Executor, step_ended: StepEnded) -> None:
        self._relay = relay
        self._feed = partial(fed, relay) if relay.observes else relay.feed
        self._sink = sink
        self._step_ended = step_ended
        self._heavy = HeavyRelay(relay, pool) if relay.heavy else None

    async def feed(self, trip: Trip, events: list[Event]) -> None:
        """Feed events of a call, which is not retried from now on, and send what comes of them."""
        trip.feeding(events)
        await self._send(self._each(trip.order.index, events), trip)

    async def flow(self, trip: Trip) -> None:
        """Feed what comes of a call that was fed, for as long as nobody must be waited for.

        Only once the reply is open, and never to a heavy relay.
        """
        index, pour = trip.order.index, self._sink.pour
        rest: Iterator[bytes] = iter(())

        def push(events: list[Event]) -> bool:
            nonlocal rest
            data: list[bytes] = []
            made = self._each(index, events)
            try:
                more = self._portion(made, data, "feed")
            except GatewayError:
                if data:
                    pour(data)
                raise
            except RAISED as error:
                raise self._fault(error) from error
            if more:
                rest = made
            return not data or (pour(data) and not more)

        await trip.flow(push)
        await self._sink.room()
        await self._send(rest, trip)

    async def close(self, outcomes: Sequence[Outcome]) -> None:
        """Let the relay end its reply; `outcomes`: entry i is call i's."""
        await self._send(self._closing(outcomes), None)

    def stop(self) -> None:
        """Nothing more is fed, whatever may still wait for that."""
        if self._heavy is not None:
            self._heavy.close()

    def _each(self, index: int, events: list[Event]) -> Iterator[bytes]:
        feed = self._feed
        for event in events:
            yield from feed(index, event)

    def _closing(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        yield from self._relay.close(outcomes)

    async def _send(self, made: Iterator[bytes], trip: Trip | None) -> None:
        """Draw what the relay makes, and send it in portions.

        `trip`: the call whose events it is made of; None: the relay closes.
        """
        more, bite_s, empty = True, BITE_S if self._sink.opened else 0.0, 0
        while more:
            data: list[bytes] = []
            try:
                if self._heavy is None:
                    more = self._portion(made, data, "close" if trip is None else "feed")
                else:
                    more = await self._heavy.bite(made, data, bite_s)
                    bite_s = longer(bite_s)
            except GatewayError as error:
                await self._broke(error, data, trip)
                raise
            except raised() as error:
                raise self._fault(error) from error
            if data:
                await self._sink.emit(self._relay.head, data)
            if more:
                empty = 0 if any(data) else empty + len(data)
                if empty > EMPTY_AT_MOST:
                    raise PluginFault(f"{type(self._relay).__name__} yields nothing, for ever")
                await asyncio.sleep(0)

    async def _broke(self, error: GatewayError, data: list[bytes], trip: Trip | None) -> None:
        if data:
            await self._sink.emit(self._relay.head, data)
        if trip is not None and isinstance(error, BadReply):
            trip.spoilt(error)

    def _portion(self, made: Iterator[bytes], data: list[bytes], step: str) -> bool:
        """Draw up to YIELDS_AT_MOST into `data`, here in the event loop; whether more may come."""
        began = perf_counter()
        data.extend(islice(made, YIELDS_AT_MOST))
        if perf_counter() - began > SLOW_S:
            self._step_ended(step, began)
        return len(data) == YIELDS_AT_MOST

    def _fault(self, error: BaseException) -> GatewayError:
        return PluginFault(f"{type(error).__name__} in {type(self._relay).__name__}")
