"""The load: as many requests as asked, `c` at a time, over kept connections and raw sockets.

Counts replies, events and the time to the first byte; parses as little as it can.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

BODY = (
    b'{"model":"chat","max_tokens":100,"messages":[{"role":"user","content":"' + b"y" * 900 + b'"}]'
)


@dataclass(slots=True)
class Load:
    """What came back."""

    replies: int = 0
    bad: int = 0
    events: int = 0
    first_s: list[float] = field(default_factory=list)


def request(port: int, key: str, *, stream: bool) -> bytes:
    """One request's bytes."""
    body = BODY + (b',"stream":true}' if stream else b"}")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client(asyncio.Protocol):
    """One connection that sends the next request when a reply is whole."""

    def __init__(
        self, data: bytes, take: asyncio.Semaphore, load: Load, done: asyncio.Event
    ) -> None:
        self.data, self.take, self.load, self.done = data, take, load, done

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self.transport = transport
        self.next()

    def next(self) -> None:
        if self.take.locked():
            self.transport.close()
            return
        self.take._value -= 1
        self.held = b""
        self.began = time.perf_counter()
        self.length = -1
        self.transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        if not self.held:
            self.load.first_s.append(time.perf_counter() - self.began)
        self.held += data
        if self.length < 0 and (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            at = head.find(b"content-length:")
            self.length = end + 4 + int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if not head.startswith(b"http/1.1 200"):
                self.load.bad += 1
        if self.length > 0 and len(self.held) >= self.length:
            self.ended()
        elif self.length == 0 and self.held.endswith(b"0\r\n\r\n"):
            self.load.events += self.held.count(b'"content":" token"')
            self.ended()

    def ended(self) -> None:
        self.load.replies += 1
        if self.take.locked():
            self.transport.close()
        else:
            self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set()


async def drive(port: int, key: str, *, requests: int, c: int, stream: bool = False) -> Load:
    """Send `requests` requests, `c` at a time."""
    load, take = Load(), asyncio.Semaphore(requests)
    data = request(port, key, stream=stream)
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(min(c, requests)):
        done = asyncio.Event()
        ends.append(done)
        await loop.create_connection(
            lambda done=done: Client(data, take, load, done), "127.0.0.1", port
        )
    for done in ends:
        await done.wait()
    return load
