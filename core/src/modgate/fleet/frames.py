"""What one gateway tells the others, and how it is written down: numbers of engines only.

Engines, models and SLO classes are told as hashes of their names: whoever reads along learns no
address and no name but the gateway's own, and nothing of requests or tenants is in it.

A written frame is a version, a MAC and the frame as arrays.  Later gateways put what is new at the
end of an array, where earlier ones pass over it; what cannot be read so takes another version, and
a reader takes that and the one before.

Source: algorithms.md 7 (gossip).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modgate.api.secret import Secret
from modgate.fleet.terms import Promised

VERSION = 1
MAC_BYTES = 16
FRONT_BYTES = 1 + MAC_BYTES
BYTES_AT_MOST = 3 << 19
TOLD_AT_MOST = 2048  # engines, and models at engines
CLASSES_AT_MOST = 8
NONE_SEEN = 0, 0
PHASES_TOLD: tuple[Promised, ...] = ("first_byte", "total", "between")

Tag = Annotated[int, Meta(ge=0)]
Calls = Annotated[int, Meta(ge=0, le=1_000_000)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Reason = Literal["too_large", "version", "mac", "malformed", "clock", "replayed", "too_many"]


class RefusedFrame(Exception):
    """A frame that counts for nothing, and why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class EngineTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one engine: calls in hand; how many were counted for its health since the start, and how
    many of them against it."""

    tag: Tag
    taken: Calls = 0
    seen: Count = 0
    bad: Count = 0


class ClassTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one SLO class: promises that were judged since the start, and those broken: of first
    events and of whole replies, of these those of whole replies, and of gaps."""

    tag: Tag
    seen: Count = 0
    bad: Count = 0
    total_seen: Count = 0
    total_bad: Count = 0
    between_seen: Count = 0
    between_bad: Count = 0

    @classmethod
    def of(cls, tag: int, counts: Mapping[Promised, tuple[int, int]]) -> ClassTold:
        """Of a class of which so many were seen, and so many of them bad, by phase."""
        first, total, between = [counts.get(phase, NONE_SEEN) for phase in PHASES_TOLD]
        return cls(tag, first[0] + total[0], first[1] + total[1], *total, *between)

    @property
    def phases(self) -> Sequence[tuple[Promised, int, int]]:
        """By phase; an earlier gateway's count all as first events."""
        return (
            ("first_byte", self.seen - self.total_seen, self.bad - self.total_bad),
            ("total", self.total_seen, self.total_bad),
            ("between", self.between_seen, self.between_bad),
        )


class StandingTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one engine and model: work in hand, and seconds a unit of it by phase; 0 = not known."""

    tag: Tag
    work: Amount = 0.0
    first_byte: Amount = 0.0
    total: Amount = 0.0
    kept: Annotated[tuple[ClassTold, ...], Meta(max_length=CLASSES_AT_MOST)] = ()


class PoolTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one model: units of work a second that were asked for."""

    tag: Tag
    offered: Amount = 0.0


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """All that one gateway tells at a time, so that one that was lost costs nothing but time.

    `gateway`: of this process, drawn by lot; `name`: for people.  `number` rises.  `at`: epoch
    seconds.  `leaves`: it is the last one, and nothing is in hand any more.
    """

    gateway: Tag
    number: Count
    at: Amount
    name: Annotated[str, Meta(max_length=300)] = ""
    engines: Annotated[tuple[EngineTold, ...], Meta(max_length=TOLD_AT_MOST)] = ()
    standings: Annotated[tuple[StandingTold, ...], Meta(max_length=TOLD_AT_MOST)] = ()
    pools: Annotated[tuple[PoolTold, ...], Meta(max_length=TOLD_AT_MOST)] = ()
    leaves: bool = False


class Seal:
    """Writes frames, and reads those of whoever has the same secret and means the same channel."""

    def __init__(self, secret: Secret, channel: str) -> None:
        mine = f"modgate peers {channel}".encode()
        self._key = hmac.digest(secret.reveal().encode(), mine, "sha256")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Frame)

    def write(self, frame: Frame) -> bytes:
        """A frame as it is sent."""
        return self.sealed(VERSION, self._encoder.encode(frame))

    def sealed(self, version: int, body: bytes) -> bytes:
        """A body of some version under this seal."""
        front = bytes((version,))
        return front + self._mac(front + body) + body

    def _mac(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")[:MAC_BYTES]

    def read(self, written: bytes) -> Frame:
        """A frame as it came; RefusedFrame for what is none, or is nobody's who has the secret."""
        if len(written) > BYTES_AT_MOST:
            raise RefusedFrame("too_large")
        front, mac, body = written[:1], written[1:FRONT_BYTES], written[FRONT_BYTES:]
        if not hmac.compare_digest(mac, self._mac(front + body)):
            raise RefusedFrame("mac")
        if front[0] != VERSION:
            raise RefusedFrame("version")
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError:
            raise RefusedFrame("malformed") from None


def tag_of(*names: str) -> int:
    """What a name, or several, is told as: 63 bits."""
    return int.from_bytes(blake2b("\n".join(names).encode(), digest_size=8).digest(), "big") >> 1
