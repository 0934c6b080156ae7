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


@pytest.mark.parametrize(
    "written",
    ["1_000", " 7 ", "7\n", "", "+", "\u0667", "\uff17", "7.0", "1e3", "0x7", "9" * 5000, "\x007"],
)
def test_a_forms_integer_is_written_in_plain_digits(written: str) -> None:
    with pytest.raises(Refused, match="'n' must be an integer") as caught:
        Fields({"n": written}, loose=True).integer("n")

    assert caught.value.code == "invalid_type"


@pytest.mark.parametrize(("written", "value"), [("7", 7), ("-7", -7), ("+7", 7), ("007", 7)])
def test_a_forms_integer_is_read(written: str, value: int) -> None:
    assert Fields({"n": written}, loose=True).integer("n") == value


@pytest.mark.parametrize(
    "written",
    [
        "inf",
        "-Infinity",
        "nan",
        "1e999",
        "-1e999",
        "1_0.5",
        " 0.5",
        "0.5\n",
        "\u0660",
        ".",
        "",
        "1e",
    ],
)
def test_a_forms_number_is_finite_and_written_in_plain_digits(written: str) -> None:
    with pytest.raises(Refused, match="'t' must be a number"):
        Fields({"t": written}, loose=True).number("t")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_without_an_end_is_none(value: float) -> None:
    with pytest.raises(Refused, match="'t' must be a number"):
        Fields({"t": value}).number("t")


@pytest.mark.parametrize(
    ("written", "value"), [("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("-2e-1", -0.2), ("1", 1.0)]
)
def test_a_forms_number_is_read(written: str, value: float) -> None:
    assert Fields({"t": written}, loose=True).number("t") == value
