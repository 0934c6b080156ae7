"""What tenants may know of their own use: receipts, and sums over a time.

A recent receipt is in memory.  What is older, and sums, are read from the ledger by one thread with
a deadline, so that nobody's question holds up anybody's request; how many may wait is bounded.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from modgate.api.sink import Receipt
from modgate.errors import Overloaded, Refused
from modgate.ledger.lookup import find
from modgate.ledger.records import Ended, ended_of
from modgate.ledger.sqlite_sink import FILE
from modgate.ledger.stored import NotRead, whole
from modgate.money.invoice import (
    Group,
    Key,
    Span,
    StatementLine,
    Tariff,
    TooManyLines,
    add_adjusted,
    stated,
)

RECENT = 4096
ATTEMPTS_AT_MOST = 65_536  # of all recent receipts: a fan-out has thousands
WAITING_AT_MOST = 8
READ_S = 10.0
PAUSE_EVERY = 200  # rows, about a millisecond of the interpreter
PAUSE_S = 0.0005
NAME = re.compile(r"req_[0-9a-f]{32}")

Answer = TypeVar("Answer")
Row = TypeVar("Row")


class Recent:
    """The receipts of the last requests that were billed, by id; bounded."""

    def __init__(self) -> None:
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()
        self._attempts = 0

    def observe(self, receipt: Receipt) -> None:
        """A request ended."""
        if not (receipt.admitted and receipt.modality):
            return
        self._receipts[receipt.request_id] = receipt
        self._attempts += len(receipt.attempts)
        while len(self._receipts) > RECENT or self._attempts > ATTEMPTS_AT_MOST:
            _, gone = self._receipts.popitem(last=False)
            self._attempts -= len(gone.attempts)

    def get(self, request_id: str) -> Receipt | None:
        """One of them."""
        return self._receipts.get(request_id)

    def __len__(self) -> int:
        return len(self._receipts)


@dataclass(slots=True, eq=False)
class Statements:
    """Answers for tenants, over one ledger directory.  `now`: epoch seconds."""

    directory: Path
    now: Callable[[], float]
    recent: Recent = field(default_factory=Recent)
    _waiting: int = 0
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="statements")
    )

    async def receipt(self, request_id: str, tenant: str) -> Ended | None:
        """A tenant's own row; None for what is not, or is not its own."""
        row = await self.row(request_id)
        return row if row is not None and row.tenant == tenant else None

    async def row(self, request_id: str) -> Ended | None:
        """Anybody's row; None for what is not."""
        if NAME.fullmatch(request_id) is None:
            return None
        known = self.recent.get(request_id)
        row = ended_of(known) if known is not None else None
        if row is None:
            row = await self._read(lambda look: find_row(self.directory, request_id, look))
        return row

    async def sums(
        self, span: Span, by: tuple[Group, ...], tenant: str, tariff: Tariff
    ) -> dict[Key, StatementLine]:
        """A tenant's own units and costs by group."""

        def read(look: Callable[[], None]) -> dict[Key, StatementLine]:
            with whole(self.directory, self.directory.parent / FILE) as both:
                found = both.rows(
                    span.begin, span.end, tenant, paced=lambda read: _politely(read, look)
                )
                lines = stated(_politely(found, look), by, tariff)
                later = _politely(both.adjustments(span.begin, span.end, tenant), look)
                add_adjusted(lines, later, by, StatementLine)
            return lines

        try:
            return await self._read(read)
        except TooManyLines as error:
            raise Refused("by", "too_many_groups", str(error)) from None

    async def _read(self, read: Callable[[Callable[[], None]], Answer]) -> Answer:
        """`read` in the thread; Overloaded when too many wait, Refused when it takes too long."""
        if self._waiting >= WAITING_AT_MOST:
            raise Overloaded("too many questions about usage at once; try again")
        until = time.monotonic() + READ_S

        def look() -> None:
            if time.monotonic() > until:
                raise TimeoutError

        self._waiting += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(self._thread, read, look)
            async with asyncio.timeout(READ_S + 1.0):
                return await work
        except (FileNotFoundError, NotRead):  # a segment was dropped while it was being read
            raise Overloaded("the ledger moved on meanwhile; try again") from None
        except TimeoutError:
            text = "it takes too long to read that much; ask for a shorter time"
            raise Refused("from", "too_much_to_read", text) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for nobody: what is being read ends at its deadline."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def find_row(ledger: Path, request_id: str, look: Callable[[], None]) -> Ended | None:
    """In the ledger, which has all of it, and what is not shipped yet; else in the sink.

    The sink has an index and says when it ended, so that only a segment need be searched; what no
    bill needs, as why another model answered, it does not keep.
    """
    with whole(ledger, ledger.parent / FILE) as both:
        row = both.stored.find(request_id) if both.stored is not None else None
    if row is None:
        return find(ledger, request_id, look)
    return find(ledger, request_id, look, ended=row.wall + row.duration_s) or row


def _politely(found: Iterable[Row], look: Callable[[], None]) -> Iterator[Row]:
    """Rows, with pauses in which the event loop has the interpreter."""
    for count, row in enumerate(found):
        if count % PAUSE_EVERY == 0:
            look()
            time.sleep(PAUSE_S)
        yield row
