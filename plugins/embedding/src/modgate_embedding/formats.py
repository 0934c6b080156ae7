"""A vector in the form that a client wants: numbers, quantised numbers or bits, plain or in base64.

Source: wire.md 6.1, 6.2 and B2; voyage's `output_dtype`, cohere's `embedding_types`.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Literal

import orjson

from modgate.plugin import BadReply, Refused

Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]
BITS = ("binary", "ubinary")
SPREAD = 6.0  # standard deviations of a unit vector's numbers that int8 covers
STEPS = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of a reply's vectors.

    `name`: what cohere calls it.  `base64`: the packed little-endian numbers as text.
    `bound`: int8 covers -bound..bound; None = by the vector's length, see `quantised`.
    """

    name: str
    dtype: Dtype = "float"
    base64: bool = False
    bound: float | None = None

    @property
    def untouched(self) -> bool:
        """The engine's own digits will do."""
        return self.dtype == "float" and not self.base64

    def written(self, vector: Sequence[float]) -> bytes:
        """A vector as JSON.  Refused when its length cannot be packed as bits."""
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
    """A vector as a JSON string of little-endian float32, in base64.  Source: wire.md B2."""
    try:
        return b'"' + b64encode(struct.pack(f"<{len(vector)}f", *vector)) + b'"'
    except OverflowError:
        raise BadReply("the engine's embedding does not fit float32") from None


def unit(vector: Sequence[float]) -> list[float]:
    """The vector with length 1; one without a direction stays as it is."""
    norm = hypot(*vector)
    return [number / norm for number in vector] if norm else list(vector)


def shortened(vector: Sequence[float], length: int) -> list[float]:
    """The first numbers of a vector, as a vector of length 1 again.  Source: wire.md 6.1."""
    return unit(vector[:length])


def quantised(vector: Sequence[float], bound: float | None) -> bytes:
    """A vector as int8: `bound` becomes 127, what lies beyond is cut there.

    One scale for all vectors of a model, or dot products could not be compared.  Without a bound
    the vector is brought to length 1 and 6 / sqrt(its dimensions) is taken, which cuts nearly
    nothing of the usual models and costs a cosine about 1e-4.
    """
    if bound is None:
        vector, bound = unit(vector), min(1.0, SPREAD / sqrt(len(vector)))
    scale = STEPS / bound
    steps = [max(-STEPS - 1, min(STEPS, round(number * scale))) for number in vector]
    return struct.pack(f"{len(steps)}b", *steps)


def bits(vector: Sequence[float]) -> bytes:
    """A bit a number, the first one highest: whether it is at least 0."""
    check_bits(len(vector))
    word = "".join("1" if number >= 0 else "0" for number in vector)
    return int(word, 2).to_bytes(len(vector) // 8, "big")


def check_bits(length: int, field: str = "output_dtype") -> None:
    """Bits fill whole bytes, or there is no such form of this vector."""
    if length % 8:
        reason = f"vectors of {length} numbers cannot be packed as bits: 8 must divide the length"
        raise Refused(field, "invalid_value", reason)
