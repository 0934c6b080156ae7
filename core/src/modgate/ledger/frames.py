"""The ledger's bytes: frames and segment headers.

    frame   = u8 version | u8 kind | u32 length | u32 crc32(payload) | 16 bytes chain | payload
    chain   = HMAC-SHA256(ledger key, previous chain + payload)[:16]
    segment = 8 bytes magic | u16 version | u16 length | msgpack header | frames

Little endian.  The payload is msgpack of a record that carries its own version `v`.  A torn tail is
seen by length or checksum; an edited frame by the chain, even when its checksum was made anew.
Source: architecture.md 7.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from enum import IntEnum
from hashlib import sha256
from zlib import crc32

import msgspec

from modgate.api.secret import Secret

VERSION = 1
MAGIC = b"MODGATE\n"
CHAIN_BYTES = 16
BLOCK_BYTES = 64
PAYLOAD_AT_MOST = 16 << 20
_FRAME = struct.Struct("<BBII16s")
_SEGMENT = struct.Struct("<8sHH")
FRAME_HEAD = _FRAME.size


class Kind(IntEnum):
    """Which record a frame carries (records.py)."""

    OPEN = 1  # Opened: a request was dispatched, or how much it had used so far
    END = 2  # Ended: a request's end
    ADJUST = 3  # Adjusted: a correction of a bill
    ANCHOR = 4  # Noted: what befell the ledger itself
    AUDIT = 5  # Audited: what an auditor asks for


class Torn(Exception):
    """The bytes from `offset` on are no whole frame.

    They are the end of a write that a crash cut off, or of one that goes on at this moment.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(f"torn at byte {offset}")
        self.offset = offset


class Tampered(Exception):
    """The frame at `offset` is whole, and is not what the writer wrote there.

    That is an alarm, and nothing is ever cut off for it.  `segment`: the name of the file, for the
    message, where it is known.
    """

    def __init__(self, offset: int, segment: str = "") -> None:
        place = f" of {segment}" if segment else ""
        super().__init__(f"the chain is broken at byte {offset}{place}")
        self.offset = offset


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing in a segment.

    `writer`: the id of who writes.  `boot`: `MACHINE BOOT/random`, another one after each start.
    `last`: the chain value that the segment before ended with.
    """

    writer: str
    boot: str
    number: int
    last: bytes
    v: int = VERSION


_KINDS = {int(kind): kind for kind in Kind}


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record as bytes, and which one it is: what a frame carries."""

    kind: Kind
    payload: bytes


class Frame(Entry, frozen=True, kw_only=True, gc=False):
    """A frame that was read.  `chain`: its chain value.  `end`: the offset right behind it."""

    chain: bytes
    end: int


class ChainMac:
    """Makes chain values with one key.

    An optimisation: the result is that of `hmac.digest`, which gives the interpreter lock away at
    every call.  This keeps the two hash states that the key alone determines, and goes on from
    copies of them.  Source: RFC 2104 section 2.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: Secret) -> None:
        raw = key.reveal().encode()
        block = (sha256(raw).digest() if len(raw) > BLOCK_BYTES else raw).ljust(BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def after(self, previous: bytes, payload: bytes) -> bytes:
        """The chain value, of `CHAIN_BYTES`, of a payload that follows the value `previous`."""
        inner = self._inner.copy()
        inner.update(previous)
        inner.update(payload)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:CHAIN_BYTES]


def frame(kind: Kind, payload: bytes, chain: bytes) -> bytes:
    """The bytes of a frame."""
    return _FRAME.pack(VERSION, kind, len(payload), crc32(payload), chain) + payload


def segment_head(header: SegmentHeader) -> bytes:
    """The bytes that a segment begins with."""
    packed = msgspec.msgpack.encode(header)
    return _SEGMENT.pack(MAGIC, VERSION, len(packed)) + packed


def read_head(data: bytes) -> tuple[SegmentHeader, int]:
    """A segment's header, and the offset behind it.

    Torn when the bytes end too soon, Tampered when they are no header that this version knows.
    """
    if len(data) < _SEGMENT.size:
        raise Torn(0)
    magic, version, length = _SEGMENT.unpack_from(data)
    if magic != MAGIC or version > VERSION:
        raise Tampered(0)
    end = _SEGMENT.size + length
    if len(data) < end:
        raise Torn(0)
    try:
        header = msgspec.msgpack.decode(data[_SEGMENT.size : end], type=SegmentHeader)
    except msgspec.DecodeError:
        raise Tampered(0) from None
    return header, end


def read_frames(data: bytes, offset: int, key: Secret | None, last: bytes) -> Iterator[Frame]:
    """The frames from `offset` on, each proven by its checksum and by the chain.

    `last`: the chain value before the first.  `key`: None proves by checksums alone.

    Torn at an unfinished frame, Tampered where the chain is broken.  Only the last frame can be
    unfinished: a bad one with bytes behind it was whole once, and to cut there would lose them.
    """
    mac = ChainMac(key) if key is not None else None
    size = len(data)
    while offset < size:
        if size - offset < FRAME_HEAD:
            raise Torn(offset)
        version, kind, length, crc, chain = _FRAME.unpack_from(data, offset)
        end = offset + FRAME_HEAD + length
        if version == 0 and data.count(0, offset) == size - offset:
            raise Torn(offset)  # zeros that a power cut left
        known = _KINDS.get(kind) if version == VERSION else None
        if known is None or length > PAYLOAD_AT_MOST:
            raise Tampered(offset)  # or a later version wrote it; no torn frame of ours begins so
        if end > size:
            raise Torn(offset)
        payload = data[offset + FRAME_HEAD : end]
        if crc32(payload) != crc:
            raise Torn(offset) if end == size else Tampered(offset)
        if mac is not None and not hmac.compare_digest(mac.after(last, payload), chain):
            raise Tampered(offset)
        last, offset = chain, end
        yield Frame(known, payload, chain=chain, end=end)
