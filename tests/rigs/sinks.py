"""Sinks that a test breaks, and shippers that it waits for."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from modgate.api.shipment import Cursor, LedgerSink, Shipment, SinkDown, UsageRow
from modgate.clock import Clock, SystemClock
from modgate.ledger.shipper import Shipper
from modgate.ledger.writer import Ledger
from rigs.ledger import KEY

Key = tuple[str, str, int]


class Store:
    """What a sink keeps, over all its lives; `writes` counts every attempt."""

    def __init__(self) -> None:
        self.rows: dict[Key, UsageRow] = {}
        self.cursors: dict[str, Cursor] = {}
        self.writes = self.repeated = 0
        self.down = False
        self.largest = 0

    def keep(self, shipment: Shipment) -> None:
        """As a database would: rows once, cursors forward."""
        for row in shipment.rows:
            key = (row.request_id, row.kind, row.sequence)
            self.repeated += key in self.rows
            first = self.rows.setdefault(key, row)
            assert first == row or first.writer != row.writer
        cursor = shipment.cursor
        known = self.cursors.get(cursor.writer)
        if known is None or (cursor.segment, cursor.offset) > (known.segment, known.offset):
            self.cursors[cursor.writer] = cursor

    @property
    def ids(self) -> set[str]:
        """The requests whose end is there."""
        return {request_id for request_id, kind, _ in self.rows if kind == "end"}


class Kept(LedgerSink):
    """A sink over a store; one that is `down` refuses everything."""

    name = "kept"

    def __init__(self, store: Store) -> None:
        self.store = store

    async def open(self) -> Sequence[Cursor]:
        if self.store.down:
            raise SinkDown("it is down")
        return list(self.store.cursors.values())

    async def write(self, shipment: Shipment) -> None:
        self.store.writes += 1
        self.store.largest = max(self.store.largest, len(shipment.rows))
        if self.store.down:
            raise ConnectionResetError
        self.store.keep(shipment)

    async def close(self) -> None:
        return


class Lossy(Kept):
    """It drops shipments, loses and delays acknowledgements, and writes some twice or late."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        super().__init__(store)
        self.rng = rng
        self.late: list[Shipment] = []

    async def write(self, shipment: Shipment) -> None:
        self.store.writes += 1
        fate = self.rng.random()
        if self.late and fate > 0.5:  # a shipment that was given up long ago arrives now
            self.store.keep(self.late.pop())
        if fate < 0.2:
            raise ConnectionResetError  # it never arrived
        if fate < 0.3:
            self.late.append(shipment)
            raise ConnectionResetError
        self.store.keep(shipment)
        if fate < 0.5:
            raise ConnectionResetError  # it arrived, the acknowledgement did not
        if fate < 0.6:
            self.store.keep(shipment)
        if fate > 0.95:
            await asyncio.sleep(60)  # the acknowledgement comes when nobody waits any more


@contextmanager
def shipping(
    ledger: Ledger,
    make: Callable[[], LedgerSink],
    *,
    name: str = "kept",
    batch_bytes: int = 4096,
    deadline_s: float = 0.05,
    most_s: float = 0.02,
    clock: Clock | None = None,
) -> Iterator[Shipper]:
    """A shipper that runs, in a hurry."""
    shipper = Shipper(
        name,
        make,
        ledger,
        KEY,
        clock or SystemClock(),
        every_s=0.01,
        batch_bytes=batch_bytes,
        deadline_s=deadline_s,
        rng=random.Random(1),
    )
    shipper._backoff.least_s, shipper._backoff.most_s = 0.004, most_s
    shipper.start()
    try:
        yield shipper
    finally:
        shipper.close(10)


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for something that another thread brings about."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.005)
