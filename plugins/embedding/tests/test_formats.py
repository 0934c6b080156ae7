"""Vectors in other forms than floats."""

from __future__ import annotations

import base64
import math
import random
import struct

import orjson
import pytest

from modgate.plugin import BadReply
from modgate_embedding.formats import Dtype, Form, bits, quantised, shortened

DICE = random.Random(7)
VECTORS = [[DICE.gauss(0, 1) for _ in range(384)] for _ in range(20)]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(map(float.__mul__, a, b)) / math.hypot(*a) / math.hypot(*b)


def test_int8_keeps_the_angles_between_vectors() -> None:
    packed = [struct.unpack("384b", quantised(vector, None)) for vector in VECTORS]
    small = [[float(step) for step in vector] for vector in packed]

    for a, near in zip(VECTORS, small, strict=True):
        assert cosine(a, near) > 0.999
        for b, other in zip(VECTORS, small, strict=True):
            assert cosine(near, other) == pytest.approx(cosine(a, b), abs=5e-3)


def test_int8_is_one_scale_for_all_vectors_so_dot_products_rank_alike() -> None:
    lengths = [math.hypot(*struct.unpack("384b", quantised(v, None))) for v in VECTORS]

    assert max(lengths) / min(lengths) < 1.01


def test_what_lies_beyond_the_bound_is_cut_at_it() -> None:
    assert struct.unpack("3b", quantised([9.0, -9.0, 0.25], 0.5)) == (127, -128, 64)


def test_bits_are_packed_first_number_highest() -> None:
    vector = [1.0, -1.0, 0.0, -0.1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, 1]

    assert bits(vector) == bytes([0b10101111, 0b00000001])
    signed = Form(name="binary", dtype="binary").written(vector)
    assert orjson.loads(signed) == [0b10101111 - 128, 1 - 128]


def test_base64_packs_the_numbers_that_were_asked_for() -> None:
    vector = [0.5, -0.5, 0.0, 0.25, 0, 0, 0, 0]
    counts: dict[Dtype, int] = {"int8": 8, "uint8": 8, "binary": 1, "ubinary": 1}
    for dtype, count in counts.items():
        plain = Form(name=dtype, dtype=dtype, bound=0.5)
        text = Form(name=dtype, dtype=dtype, base64=True, bound=0.5)
        data = base64.b64decode(orjson.loads(text.written(vector)))
        code = "b" if dtype in ("int8", "binary") else "B"
        assert list(struct.unpack(f"{count}{code}", data)) == orjson.loads(plain.written(vector))


def test_bits_need_a_length_that_fills_bytes() -> None:
    with pytest.raises(BadReply, match="12 numbers"):
        bits([1.0] * 12)


@pytest.mark.parametrize("vector", [[1e308, 0.5], [1e308, -1e308], [-1.7e308, 1.7e308]])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_numbers_that_no_vector_has_are_a_bad_reply(vector: list[float], dtype: Dtype) -> None:
    with pytest.raises(BadReply, match="does not fit"):
        Form(name=dtype, dtype=dtype, bound=0.01).written(vector)
    with pytest.raises(BadReply, match="does not fit"):
        shortened([*vector, *vector, 1.7e308], 5)
