"""Keeping the connections to one engine.

The one that was used last is used next, so that no more than needed stay in use.
"""

from __future__ import annotations

import asyncio

from modgate.upstream.connection import Connection

IDLE_AT_MOST = 1024
IDLE_S = 15.0  # below what most servers keep
EARLY_S = 1.0  # we let go this long before an engine closes, when it said when
FRESH_S = 0.5  # a connection that rested for less is not examined


class Pool:
    """The connections of one engine.

    `live`: all of them.  `idle`: those without a call, and since when, the longest first.
    """

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self.loop = asyncio.get_running_loop()
        self._idle_s = idle_s
        self._timer: asyncio.TimerHandle | None = None
        self.live: set[Connection] = set()
        self.idle: dict[Connection, float] = {}

    def connection(self) -> Connection:
        """A new connection, which is yet to be dialled."""
        made = Connection(self._put, self._drop)
        self.live.add(made)
        return made

    def take(self) -> Connection | None:
        """A connection that can carry a call; None when a new one is needed."""
        while self.idle:
            found, since = self.idle.popitem()
            rested = self.loop.time() - since
            if rested < self._kept_s(found) and (rested < FRESH_S or found.quiet()):
                return found
            found.abort()
        return None

    def _kept_s(self, connection: Connection) -> float:
        if connection.idle_s is None:
            return self._idle_s
        return min(self._idle_s, connection.idle_s - EARLY_S)

    def _put(self, connection: Connection) -> None:
        if len(self.idle) >= IDLE_AT_MOST:
            connection.abort()
            return
        self.idle[connection] = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(self._idle_s, self._sweep)

    def _drop(self, connection: Connection) -> None:
        self.live.discard(connection)
        self.idle.pop(connection, None)

    def _sweep(self) -> None:
        self._timer = None
        now = self.loop.time()
        for connection, since in list(self.idle.items()):
            if now - since < self._idle_s:
                self._timer = self.loop.call_at(since + self._idle_s, self._sweep)
                return
            connection.abort()

    def close(self) -> None:
        """Close all connections, also those that carry calls."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self.live):
            connection.cut()
