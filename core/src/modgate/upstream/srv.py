"""Asking for SRV records, which the machine's resolver cannot: over UDP, and TCP if need be.

Source: RFC 1035 (messages, names), RFC 2782 (SRV), RFC 7766 (TCP).
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from modgate.api.discover import Names, SrvTarget

SRV = 33
PORT = 53
WITHIN_S = 2.0
TRIES = 2
RECORDS_AT_MOST = 1000
JUMPS_AT_MOST = 32
_HEAD = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_SERVICE = struct.Struct("!HHH")
_TRUNCATED, _KIND_OF_ERROR, _REPLY = 0x0200, 0x000F, 0x8000
_RESOLVERS = Path("/etc/resolv.conf")


class BadMessage(ValueError):
    """A message that is no reply to our question."""


def question(name: str, number: int) -> bytes:
    """The message that asks for a name's SRV records.  ValueError when it is no name.

    `number`: comes back in the reply.
    """
    labels = [
        part.encode("idna") if not part.isascii() else part.encode()
        for part in name.rstrip(".").split(".")
    ]
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError("a DNS name has labels of 1 to 63 letters")
    spelt = b"".join(bytes([len(label)]) + label for label in labels)
    return _HEAD.pack(number, 0x0100, 1, 0, 0, 0) + spelt + b"\0" + struct.pack("!HH", SRV, 1)


def answer(message: bytes, asked: bytes) -> Names | None:
    """What a reply to the message `asked` says; None when it was cut, so that TCP is needed.

    BadMessage when it is no such reply, or an error.
    """
    try:
        number, flags, questions, records, *_ = _HEAD.unpack_from(message)
        if number != _HEAD.unpack_from(asked)[0] or not flags & _REPLY or questions != 1:
            raise BadMessage("not the reply to our question")
        if flags & _TRUNCATED:
            return None
        if (kind := flags & _KIND_OF_ERROR) not in (0, 3):
            raise BadMessage(f"the name server answers with error {kind}")
        _, at = _name(message, _HEAD.size)
        return _records(message, at + 4, min(records, RECORDS_AT_MOST))
    except (struct.error, IndexError, UnicodeDecodeError):
        raise BadMessage("a reply that cannot be read") from None


def _records(message: bytes, at: int, count: int) -> Names:
    targets: list[SrvTarget] = []
    ttl_s = float("inf")
    for _ in range(count):
        _, at = _name(message, at)
        kind, _, ttl, size = _RECORD.unpack_from(message, at)
        at += _RECORD.size
        if kind == SRV:
            priority, _, port = _SERVICE.unpack_from(message, at)
            host, _ = _name(message, at + _SERVICE.size)
            if host and port:  # a lone "." says that there is no such service
                targets.append(SrvTarget(host=host, port=port, priority=priority))
                ttl_s = min(ttl_s, ttl)
        at += size
    return Names(targets=targets, ttl_s=ttl_s)


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at a place of the message, and where what follows it begins.

    A name may go on elsewhere in the message.  Source: RFC 1035 section 4.1.4.
    """
    labels: list[str] = []
    after = 0
    for _ in range(JUMPS_AT_MOST * 4):
        size = message[at]
        if size >= 0xC0:
            after = after or at + 2
            at = (size & 0x3F) << 8 | message[at + 1]
        elif size == 0:
            return ".".join(labels), after or at + 1
        else:
            labels.append(message[at + 1 : at + 1 + size].decode("ascii"))
            at += 1 + size
    raise BadMessage("a name without an end")


class Asker(asyncio.DatagramProtocol):
    """Waits for one datagram; `reply` is done with it."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Called by the transport, which is connected, so that it is from the server."""
        if not self.reply.done():
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """Called by the transport."""
        if not self.reply.done():
            self.reply.set_exception(exc)


async def services(name: str, servers: Sequence[tuple[str, int]] | None = None) -> Names:
    """The targets of a name's SRV records, as the first server says that answers.

    OSError when none answers.  `servers`: address and port; None: those of the machine.
    """
    tried = servers if servers is not None else resolvers(_RESOLVERS)
    error: Exception = OSError("no name server is configured")
    for _ in range(TRIES):
        for server in tried:
            try:
                async with asyncio.timeout(WITHIN_S):
                    return await _ask(name, server)
            except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as why:
                error = why
    raise OSError(str(error) or type(error).__name__)


async def _ask(name: str, server: tuple[str, int]) -> Names:
    asked = question(name, int.from_bytes(os.urandom(2)))
    loop = asyncio.get_running_loop()
    transport, asker = await loop.create_datagram_endpoint(Asker, remote_addr=server)
    try:
        transport.sendto(asked)
        found = answer(await asker.reply, asked)
    finally:
        transport.close()
    return found if found is not None else await _over_tcp(asked, server)


async def _over_tcp(asked: bytes, server: tuple[str, int]) -> Names:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(asked)) + asked)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        found = answer(await reader.readexactly(size), asked)
    finally:
        writer.close()
    if found is None:
        raise BadMessage("cut over TCP, too")
    return found


def resolvers(path: Path) -> list[tuple[str, int]]:
    """The name servers in a file like `/etc/resolv.conf`; none when it cannot be read."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
    return [(line[1], PORT) for line in lines if len(line) > 1 and line[0] == "nameserver"]
