"""The view by Redis (or Valkey) pub/sub: each gateway tells what it has in hand, again and again.

Two tasks.  One puts together what is known, by the clock; the other holds the link, and makes a new
one when it breaks.  Whether the view works is told by the gateway's own frames, which come back
with the others': a Redis that hangs, a lost subscription and a missing right all look the same.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from modgate import tasks
from modgate.api.secret import Secret
from modgate.clock import Clock
from modgate.fleet.cadence import MOST_S
from modgate.fleet.frames import Frame, RefusedFrame, Seal
from modgate.fleet.peer_view import Seen, Sight
from modgate.fleet.peers import EXPIRES_S, Peers
from modgate.fleet.pool import Pool
from modgate.tracebacks import reason_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)

PREFIX = "modgate:peers:"
JITTER = 0.2
LATE_S = 0.25
WITHIN_S = 1.0  # a step of the link
SILENT_S = 2.0  # a link over which not even one's own frames come
FAREWELL_S = 0.25
BACK_OFF_S, BACK_OFF_AT_MOST_S = 0.25, 4.0


class RedisView:
    """See `PeerView`.

    `client_of` makes what one link needs, which closes it.  `cell`: gateways of one tell each
    other.  `name`: of this one, for people at the others.
    """

    def __init__(
        self,
        client_of: Callable[[], Redis],
        *,
        secret: Secret,
        clock: Clock,
        cell: str = "",
        name: str = "",
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._channel = PREFIX + cell
        self._seal = Seal(secret, self._channel)
        self._peers = Peers(random.SystemRandom().getrandbits(63), name)
        self._clock = clock
        self._rng = rng
        self._client_of = client_of
        self._client: Redis | None = None
        self._pump: Callable[[], None] = lambda: None
        self._due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._refused: dict[str, int] = {}
        self._left = False
        self._sight: Sight = "joining"
        self._since = clock.now()
        self._why = "silent"

    def start(self) -> None:
        """Begin to tell and to listen."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._beat()), loop.create_task(self._link())]

    def use(self, pools: Mapping[str, Pool], pump: Callable[[], None]) -> None:
        """See `PeerView`."""
        self._pump = pump
        self._peers.use(pools, self._clock.now(), heard=self._listened)

    def seen(self) -> Seen:
        """See `PeerView`."""
        return Seen(sight=self._sight, heard_of=self._peers.heard_of, refused=dict(self._refused))

    @property
    def _listened(self) -> bool:
        """Whether it listens for so long that whoever is there was heard."""
        return self._sight == "up" and self._clock.now() - self._since > EXPIRES_S

    # --- by the clock

    async def _beat(self) -> None:
        while True:
            wait_s = self._peers.tells_each_s * (1 + JITTER * (2 * self._rng() - 1))
            due = self._clock.now() + wait_s
            await asyncio.sleep(wait_s)
            late_s = self._clock.now() - due
            if late_s > LATE_S:  # what was told meanwhile lies there unread
                self._peers.stood_still(late_s)
            self._look()
            self._due.set()

    def _look(self) -> None:
        now = self._clock.now()
        try:
            self._judge(now)
            self._freed(self._peers.settle(now, heard=self._listened))
        except Exception:
            log.exception("peer view broke")

    def _freed(self, freed: bool) -> None:
        """Others gave back what calls may wait for here."""
        if freed:
            self._pump()

    def _judge(self, now: float) -> None:
        """Say when the view comes or goes, once."""
        up = now - self._peers.echoed_at <= EXPIRES_S
        if up and self._sight != "up":
            self._sight, self._since = "up", now
            log.info("peer view up")
        elif not up and (self._sight == "up" or self._overdue(now)):
            self._sight, self._since = "lost", now
            log.warning("peer view lost", extra={"reason": self._why})

    def _overdue(self, now: float) -> bool:
        return self._sight == "joining" and now - self._since > SILENT_S

    # --- the link

    async def _link(self) -> None:
        failures = 0
        while True:
            began = self._clock.now()
            try:
                await self._session()
            except Exception:
                log.exception("peer link broke")
            if self._left:
                return  # where the group failed as this task was cancelled, it has lost that
            failures = failures + 1 if self._clock.now() - began < BACK_OFF_AT_MOST_S else 0
            wait_s = min(BACK_OFF_AT_MOST_S, BACK_OFF_S * 2 ** min(failures, 10))
            await asyncio.sleep(wait_s * (0.5 + self._rng() / 2))

    async def _session(self) -> None:
        """From a connection to its end."""
        from redis.exceptions import RedisError

        client = self._client = self._client_of()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(client))
                group.create_task(self._tell(client))
        except* (RedisError, OSError) as broken:  # a TimeoutError is an OSError
            self._why = reason_of(broken.exceptions[0])
        finally:
            self._client = None
            with suppress(RedisError, OSError):
                async with asyncio.timeout(WITHIN_S):
                    await client.aclose()

    async def _listen(self, client: Redis) -> None:
        async with client.pubsub(ignore_subscribe_messages=True) as listening:
            async with asyncio.timeout(WITHIN_S):
                await listening.subscribe(self._channel)
            silent = 0
            while silent * MOST_S < SILENT_S:
                silent += 1
                message = await listening.get_message(timeout=MOST_S)
                if message is not None:
                    silent = 0
                    self._hear(message["data"])
                    await asyncio.sleep(0)  # a flood must not have the loop for itself
        raise TimeoutError("silent")

    async def _tell(self, client: Redis) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            frame = self._peers.frame(self._clock.now(), self._clock.wall())
            await self._send(client, frame, WITHIN_S)

    async def _send(self, client: Redis, frame: Frame, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            await client.publish(self._channel, self._seal.write(frame))

    def _hear(self, written: bytes) -> None:
        now = self._clock.now()
        try:
            self._freed(self._peers.hear(self._seal.read(written), now, self._clock.wall()))
        except RefusedFrame as refused:
            reason = refused.reason
            if reason != "replayed":  # a copy of a frame is no sign of somebody else
                self._peers.doubt(now)
            if reason not in self._refused:
                log.warning("peer frame refused", extra={"reason": reason})
            self._refused[reason] = self._refused.get(reason, 0) + 1

    async def close(self) -> None:
        """See `PeerView`."""
        from redis.exceptions import RedisError

        self._left = True
        for task in self._tasks[:1]:  # nothing is told after the farewell
            task.cancel()
        self._due.clear()
        if self._client is not None and self._sight != "lost":
            with suppress(RedisError, OSError):
                farewell = self._peers.farewell(self._clock.wall())
                await self._send(self._client, farewell, FAREWELL_S)
        await tasks.end(self._tasks)
