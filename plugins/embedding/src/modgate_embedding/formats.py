"""Writing a vector in the form that a client wants: numbers, small integers or bits; or in base64.

Source: wire.md 6.1, 6.2 and B2; voyage's `output_dtype`, cohere's `embedding_types`.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, inf, sqrt
from typing import Literal

import orjson

from modgate.plugin import BadReply, Refused

Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]
BITS = ("binary", "ubinary")
SPREAD = 6.0  # standard deviations of a unit vector's numbers that int8 covers
STEPS = 127  # of int8, on each side of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of a reply's vectors.

    `name`: what cohere calls it.
    `base64`: the numbers are packed, little-endian, and written as text.
    `bound`: int8 and uint8 cover -bound to bound; None: see `quantised`.
    """

    name: str
    dtype: Dtype = "float"
    base64: bool = False
    bound: float | None = None

    @property
    def untouched(self) -> bool:
        """Whether the engine's own digits will do."""
        return self.dtype == "float" and not self.base64

    def written(self, vector: Sequence[float]) -> bytes:
        """A vector as JSON.  BadReply when it cannot be packed."""
        if self.dtype == "float":
            return packed(vector) if self.base64 else orjson.dumps(list(vector))
        if self.dtype in BITS:
            data = bits(vector)
            if self.dtype == "binary":
                data = bytes(byte ^ 0x80 for byte in data)  # byte - 128, as a signed one
        else:
            data = quantised(vector, self.bound)
            if self.dtype == "uint8":
                data = bytes(byte ^ 0x80 for byte in data)
        if self.base64:
            return b'"' + b64encode(data) + b'"'
        signed = self.dtype in ("int8", "binary")
        return orjson.dumps(list(struct.unpack(f"{len(data)}{'b' if signed else 'B'}", data)))


FLOAT = Form(name="float")


def packed(vector: Sequence[float]) -> bytes:
    """A vector as a JSON string: little-endian float32 in base64.  Source: wire.md B2."""
    try:
        return b'"' + b64encode(struct.pack(f"<{len(vector)}f", *vector)) + b'"'
    except OverflowError:
        raise _too_large() from None


def _too_large() -> BadReply:
    return BadReply("the engine's embedding does not fit float32")


def unit(vector: Sequence[float]) -> list[float]:
    """The vector brought to length 1; one of length 0 stays as it is.

    BadReply for one whose length is no number.
    """
    norm = hypot(*vector)
    if norm == inf:
        raise _too_large()
    return [number / norm for number in vector] if norm else list(vector)


def shortened(vector: Sequence[float], length: int) -> list[float]:
    """The first numbers of a vector, brought to length 1 again.  Source: wire.md 6.1."""
    return unit(vector[:length])


def quantised(vector: Sequence[float], bound: float | None) -> bytes:
    """A vector as int8: `bound` becomes 127, and what lies beyond it is cut off there.

    All vectors of a model have the same scale, or their dot products could not be compared.
    Without a bound the vector is brought to length 1, and 6 / sqrt(number of dimensions) is the
    bound: that cuts off nearly nothing of the usual models, and changes a cosine by about 1e-4.
    BadReply for a number that is none in these steps.
    """
    if bound is None:
        vector, bound = unit(vector), min(1.0, SPREAD / sqrt(len(vector)))
    scale = STEPS / bound
    try:
        steps = [max(-STEPS - 1, min(STEPS, round(number * scale))) for number in vector]
    except OverflowError:
        raise _too_large() from None
    return struct.pack(f"{len(steps)}b", *steps)


def bits(vector: Sequence[float]) -> bytes:
    """One bit for each number, 1 when it is at least 0; the first number is the highest bit.

    BadReply for a vector that fills no whole bytes: what could be known of it before was checked.
    """
    if len(vector) % 8:
        raise BadReply(
            f"the engine's embedding has {len(vector)} numbers, which fill no whole bytes"
        )
    word = "".join("1" if number >= 0 else "0" for number in vector)
    return int(word, 2).to_bytes(len(vector) // 8, "big")


def check_bits(length: int, field: str) -> None:
    """Raise Refused, naming `field`, for vectors whose bits do not fill whole bytes."""
    if length % 8:
        reason = f"vectors of {length} numbers cannot be packed as bits: 8 must divide the length"
        raise Refused(field, "invalid_value", reason)
