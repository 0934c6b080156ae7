"""Work that must not hold up the event loop: queued at once, done by a thread in batches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

CLOSE_S = 5.0

ItemT = TypeVar("ItemT")


class Batches(Generic[ItemT]):
    """A bounded queue and the thread that empties it.

    `deliver(items)` runs in that thread with up to `batch` of them; what it raises is logged, once
    for each series of failures, and the items count as dropped.  The thread sleeps while there is
    nothing to do; woken by the first item, it lets more gather for `gather_s`.  `dropped` is exact
    once the thread has ended.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Sequence[ItemT]], None],
        *,
        at_most: int,
        batch: int,
        gather_s: float,
    ) -> None:
        self.dropped = 0
        self._deliver = deliver
        self._at_most = at_most
        self._batch = batch
        self._gather_s = gather_s
        self._items: deque[ItemT] = deque()
        self._awake = False
        self._failing = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: ItemT) -> None:
        """Queue an item; never waits, drops it when the queue is full or closed."""
        if len(self._items) >= self._at_most or self._closing.is_set():
            self.dropped += 1
            return
        self._items.append(item)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(self._gather_s)
            # In this order: an item put before `_awake` falls is seen by the loop below, one put
            # after it wakes this thread again.
            self._wake.clear()
            self._awake = False
            self._empty()
        self._empty()

    def _empty(self) -> None:
        items = self._items
        while items:
            self._hand_over([items.popleft() for _ in range(min(self._batch, len(items)))])

    def _hand_over(self, batch: Sequence[ItemT]) -> None:
        try:
            self._deliver(batch)
            self._failing = False
        except Exception:  # the border of a background task
            self.dropped += len(batch)
            if not self._failing:
                self._failing = True
                log.exception("batch lost", extra={"items": len(batch)})

    def close(self, within_s: float = CLOSE_S) -> None:
        """Deliver what is queued and end the thread; what is left after `within_s` is dropped."""
        self._closing.set()
        self._wake.set()
        self._thread.join(within_s)
        self.dropped += len(self._items)
        self._items.clear()
