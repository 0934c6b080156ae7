"""Reading fields: a whole number that is read can be written again."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import Body, Fields, Refused


@pytest.mark.parametrize("value", [(1 << 63) - 1, -(1 << 63), 1e15])
def test_an_integer_of_64_bits_is_read_and_written(value: float) -> None:
    read = Fields({"seed": value}).integer("seed")

    assert Body.of(seed=read).content == b'{"seed":%d}' % int(value)


@pytest.mark.parametrize(
    "sent",
    [b"9223372036854775808", b"-9223372036854777856", b"99999999999999999999999", b"-1e300"],
)
def test_an_integer_beyond_64_bits_is_refused_by_name(sent: bytes) -> None:
    with pytest.raises(Refused, match=r"'a\.seed' must be at (least|most)") as caught:
        Fields({"seed": orjson.loads(sent)}, at="a.").integer("seed")

    assert caught.value.field == "a.seed"
