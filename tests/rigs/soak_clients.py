"""The clients of a soak: raw sockets that parse as little as they can."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate

from rigs.soak_shots import NONCE, Shot, Shots

AT_ONCE = 24
LEAVE_S = 0.03
PATIENCE_S = 30.0
GONE, LATE, CUT, NOTHING = -1, -2, -3, -4  # left as planned; no end in time; half a reply; none
# Shares of the requests.
FRESH, RESET, FORWARDED, OWN_ID, AGAIN = 0.1, 0.3, 0.7, 0.2, 0.3
NAMES = 500  # of idempotency keys that are used again
LAST_CHUNK = b"\r\n0\r\n\r\n"


class Wire(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._answer: asyncio.Future[int] | None = None
        self._forget()

    def _forget(self) -> None:
        self._head = self._tail = b""
        self._status = 0
        self._left: int | None = None
        self._closes = self._leaves = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self._transport = transport
        self.open = True

    def send(self, data: bytes, *, leaves: bool) -> asyncio.Future[int]:
        """The status of the reply, when that is whole; `leaves`: at its body's first byte."""
        self._forget()
        self._leaves = leaves
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._read(head.lower())
        if data and self._leaves:
            self.leave()
        elif self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._ended(self._status)
        else:
            self._tail = (self._tail + data)[-len(LAST_CHUNK) :]
            if self._tail in (LAST_CHUNK, LAST_CHUNK[2:]):
                self._ended(self._status)

    def _read(self, head: bytes) -> None:
        self._status = int(head[9:12])
        _, found, length = head.partition(b"\r\ncontent-length:")
        self._left = int(length.split(b"\r\n", 1)[0]) if found else None
        self._closes = head.startswith(b"http/1.0") or b"\r\nconnection: close" in head

    def _ended(self, status: int) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(status)
        if status < 0 or self._closes:
            self._close(reset=False)

    def late(self) -> None:
        """It waits no longer."""
        self._ended(LATE)

    def leave(self, *, reset: bool = False) -> None:
        """It goes, whatever was said."""
        self._close(reset=reset)
        self._ended(GONE)

    def _close(self, *, reset: bool) -> None:
        if not self.open:
            return
        self.open = False
        if reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._ended(CUT if self._status else NOTHING)


class Clients:
    """Those that are driven.

    `keys`: of tenants without small limits; `tight`: of one with.  `passing`: of tenants that come
    and go.  `statuses`: how often each; `wrong`: those that a shot may not have, by its name.
    """

    def __init__(
        self, port: int, made: Shots, keys: Sequence[str], tight: str, *, seed: int
    ) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: Counter[tuple[str, int]] = Counter()
        self.answered = 0
        self.passing: Sequence[str] = ()
        self._port = port
        self._made = made
        self._keys = keys
        self._tight = tight
        self._sent = 0
        self._rng = random.Random(seed)

    async def drive(
        self, shots: Sequence[Shot], count: int, answered: Callable[[int], None]
    ) -> None:
        """Send so many of these; `answered` is told how many are over, after each."""
        self.answered = 0
        weights = list(accumulate(shot.weight for shot in shots))
        drawn = (self._rng.choices(shots, cum_weights=weights)[0] for _ in range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._lane(drawn, answered))

    async def _lane(self, drawn: Iterator[Shot], answered: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        wire = Wire()
        for shot in drawn:
            self._sent += 1
            data = self._written(shot)
            if not wire.open or shot.fresh or self._rng.random() < FRESH:
                wire.leave()
                _, wire = await loop.create_connection(Wire, "127.0.0.1", self._port)
            status = await self._play(wire, shot, data)
            self.statuses[status] += 1
            if not shot.leave and status not in shot.statuses:
                self.wrong[shot.name, status] += 1
            self.answered += 1
            answered(self.answered)
        wire.leave()

    async def _play(self, wire: Wire, shot: Shot, data: bytes) -> int:
        answer = wire.send(data, leaves=shot.leave == "body")
        within_s, leave = PATIENCE_S, wire.late
        if shot.leave and shot.leave != "body":
            within_s, leave = LEAVE_S, partial(wire.leave, reset=self._rng.random() < RESET)
        leaving = asyncio.get_running_loop().call_later(within_s, leave)
        try:
            return await answer
        finally:
            leaving.cancel()

    def _written(self, shot: Shot) -> bytes:
        """The bytes of one request; of one that leaves while it sends, a part."""
        rng, number = self._rng, self._sent
        if shot.named and rng.random() < AGAIN:
            number = rng.randrange(NAMES)
        nonce = b"%012x" % number
        body = shot.body.replace(NONCE, nonce)
        lines = [f"{shot.method} {shot.path} HTTP/1.1\r\nHost: gateway\r\n"]
        if key := self._key(shot):
            lines.append(f"Authorization: Bearer {key}\r\n")
        if rng.random() < FORWARDED:
            lines.append(f"X-Forwarded-For: {socket.inet_ntoa(rng.randbytes(4))}\r\n")
        if rng.random() < OWN_ID:
            lines.append(f"x-request-id: own-{number:x}\r\n")
        if shot.named:
            lines.append(f"Idempotency-Key: {number:x}-{len(body)}\r\n")
        if shot.method != "GET":
            lines.append(f"Content-Length: {len(body)}\r\n")
        head = "".join(lines).encode().replace(NONCE, nonce) + shot.headers + b"\r\n"
        if shot.leave == "head":
            return head[: len(head) // 2]
        return head + (body[: len(body) // 2] if shot.leave == "upload" else body)

    def _key(self, shot: Shot) -> str:
        match shot.key:
            case "any":
                return self._rng.choice(self._keys)
            case "tight":
                return self._tight
            case "passing":
                return self._rng.choice(self.passing or self._keys)
            case "unknown":
                return self._rng.choice(self._made.unknown_keys)
            case "odd":
                return f"mg_{self._sent:x}"
            case "none":
                return ""
