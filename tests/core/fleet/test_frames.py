"""Frames as they are written: what is not right counts for nothing, and versions live together."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.fleet.frames import (
    BYTES_AT_MOST,
    CLASSES_AT_MOST,
    TOLD_AT_MOST,
    ClassTold,
    EngineTold,
    Frame,
    PoolTold,
    RefusedFrame,
    Seal,
    StandingTold,
    tag_of,
)

SEAL = Seal(Secret("the secret of this cell"), "modgate:peers:")
FRAME = Frame(
    gateway=1,
    number=7,
    at=1_800_000_000.0,
    name="g:1",
    engines=(EngineTold(tag_of("a"), 3, 10, 1),),
    standings=(
        StandingTold(tag_of("a", "e"), 12.5, 0.0, 1e-4, (ClassTold(tag_of("gold"), 9, 2),)),
    ),
    pools=(PoolTold(tag_of("m"), 100.0),),
)
BODY: list[Json] = msgspec.to_builtins(FRAME)


GOLDEN = Path(__file__).parent / "golden"


def sealed(body: Json, version: int = 1) -> bytes:
    return SEAL.sealed(version, msgspec.msgpack.encode(body))


def test_a_frame_is_read_as_it_was_written() -> None:
    assert SEAL.read(SEAL.write(FRAME)) == FRAME


def test_what_version_1_wrote_is_read() -> None:
    assert SEAL.read((GOLDEN / "frame-v1.msgpack").read_bytes()) == FRAME


def test_a_later_gateways_frame_is_read_without_what_it_has_more() -> None:
    body = [*BODY, {"new": 1}]
    body[4] = [[*BODY[4][0], "more", 1]]
    body[5] = [[*BODY[5][0], [1, 2]]]

    assert SEAL.read(sealed(body)) == FRAME


def test_an_earlier_gateways_frame_lacks_what_came_later() -> None:
    assert SEAL.read(sealed(BODY[:4])) == Frame(gateway=1, number=7, at=FRAME.at, name="g:1")


class EarlierClass(msgspec.Struct, array_like=True):
    """What a gateway knew of a class before its promises were told by phase."""

    tag: int
    seen: int = 0
    bad: int = 0


def test_an_earlier_gateway_reads_of_a_class_what_it_knows() -> None:
    counts = {"first_byte": (5, 1), "total": (4, 1), "between": (9, 3)}
    told = ClassTold.of(tag_of("gold"), counts)
    earlier = msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=EarlierClass)

    assert (earlier.seen, earlier.bad) == (9, 2)
    assert {phase: (seen, bad) for phase, seen, bad in told.phases} == counts


def test_another_version_is_refused_as_such() -> None:
    with pytest.raises(RefusedFrame, match="version"):
        SEAL.read(sealed(BODY, version=2))


@pytest.mark.parametrize(
    "other",
    [
        Seal(Secret("the secret of another cell"), "modgate:peers:"),
        Seal(Secret("the secret of this cell"), "modgate:peers:b"),
    ],
)
def test_who_has_another_secret_or_means_another_cell_is_refused(other: Seal) -> None:
    with pytest.raises(RefusedFrame, match="mac"):
        SEAL.read(other.write(FRAME))


@pytest.mark.slow
@settings(derandomize=True, deadline=None)
@given(st.data())
def test_a_frame_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    written = bytearray(SEAL.write(FRAME))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(RefusedFrame, match="mac"):
        SEAL.read(bytes(written))


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_refused(written: bytes) -> None:
    with pytest.raises(RefusedFrame):
        SEAL.read(written)
    with pytest.raises(RefusedFrame, match="malformed"):
        SEAL.read(SEAL.sealed(1, written))


HOSTILE = [-1, math.nan, math.inf, -math.inf, 1e300, "1", None, [], True]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize(
    "path",
    [(0,), (1,), (2,), (4, 0, 1), (4, 0, 2), (4, 0, 3), (5, 0, 1), (5, 0, 2), (5, 0, 3), (6, 0, 1)],
    ids=str,
)
def test_values_that_nobody_can_mean_are_refused(path: tuple[int, ...], value: Json) -> None:
    body = msgspec.msgpack.decode(msgspec.msgpack.encode(BODY))
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    with pytest.raises(RefusedFrame, match="malformed"):
        SEAL.read(sealed(body))


def test_too_much_of_anything_is_refused() -> None:
    many = [*BODY[:4], [[tag] for tag in range(TOLD_AT_MOST + 1)]]
    classes = [*BODY[:4], [], [[1, 0.0, 0.0, 0.0, [[tag] for tag in range(CLASSES_AT_MOST + 1)]]]]
    for body in (many, classes, [*BODY[:3], "x" * 301]):
        with pytest.raises(RefusedFrame, match="malformed"):
            SEAL.read(sealed(body))
    with pytest.raises(RefusedFrame, match="too_large"):
        SEAL.read(bytes(BYTES_AT_MOST + 1))


def test_the_largest_frame_that_is_told_is_not_too_large_to_be_heard() -> None:
    most = (1 << 63) - 1
    kept = (ClassTold(most, *[1 << 53] * 6),) * CLASSES_AT_MOST
    frame = Frame(
        gateway=most,
        number=1 << 53,
        at=1e12,
        name="x" * 300,
        engines=(EngineTold(most, 1_000_000, 1 << 53, 1 << 53),) * TOLD_AT_MOST,
        standings=(StandingTold(most, 1e12, 1.5, 1.5, kept),) * TOLD_AT_MOST,
        pools=(PoolTold(most, 1.5),) * TOLD_AT_MOST,
    )

    assert SEAL.read(SEAL.write(frame)) == frame


def test_a_frame_tells_no_name_of_an_engine_a_model_or_a_class() -> None:
    written = SEAL.write(FRAME)

    assert not any(word in written for word in (b"gold", b"http", b"10.0"))
