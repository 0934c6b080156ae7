from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.secret import Secret
from modgate.ledger.frames import (
    CHAIN_BYTES,
    FRAME_HEAD,
    ChainMac,
    Frame,
    Kind,
    SegmentHeader,
    Tampered,
    Torn,
    frame,
    read_frames,
    read_head,
    segment_head,
)

KEY = Secret("k")
START = bytes(CHAIN_BYTES)
quick = settings(derandomize=True, deadline=None, max_examples=120)
payloads = st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=12)


def chain_of(items: list[bytes], key: Secret = KEY) -> tuple[bytes, list[int]]:
    """Frames of payloads, and the offset behind each."""
    data, last, ends = b"", START, []
    for payload in items:
        last = ChainMac(key).after(last, payload)
        data += frame(Kind.END, payload, last)
        ends.append(len(data))
    return data, ends


def read(data: bytes, key: Secret | None = KEY) -> Iterator[Frame]:
    return read_frames(data, 0, key, START)


def read_until(data: bytes, key: Secret | None = KEY) -> tuple[list[bytes], Exception | None]:
    """The payloads that are read, and what ended the reading."""
    found = []
    try:
        for each in read(data, key):
            found.append(each.payload)
    except (Torn, Tampered) as error:
        return found, error
    return found, None


@quick
@given(st.binary(max_size=200), st.text(max_size=100), st.binary(min_size=16, max_size=16))
def test_the_chain_is_the_first_half_of_an_hmac_over_the_last_one_and_the_payload(
    payload: bytes, key: str, last: bytes
) -> None:
    expected = hmac.new(key.encode(), last + payload, sha256).digest()[:16]

    assert ChainMac(Secret(key)).after(last, payload) == expected


def test_a_frame_is_version_kind_length_checksum_chain_and_payload() -> None:
    made = frame(Kind.ADJUST, b"payload", b"c" * 16)

    assert made == struct.pack("<BBII", 1, 3, 7, crc32(b"payload")) + b"c" * 16 + b"payload"


def test_the_kinds_have_the_numbers_that_lie_on_disk() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {
        "OPEN": 1,
        "END": 2,
        "ADJUST": 3,
        "ANCHOR": 4,
        "AUDIT": 5,
    }


@quick
@given(payloads)
def test_frames_read_back_as_they_were_written(items: list[bytes]) -> None:
    data, ends = chain_of(items)
    found = list(read(data))

    assert [each.payload for each in found] == items
    assert [each.end for each in found] == ends


@quick
@given(payloads, st.integers(0, 10_000))
def test_a_tail_cut_anywhere_leaves_an_exact_prefix(items: list[bytes], at: int) -> None:
    data, ends = chain_of(items)
    cut = at % (len(data) + 1)
    whole = sum(end <= cut for end in ends)
    found, error = read_until(data[:cut])

    assert found == items[:whole]
    if cut in (0, *ends):
        assert error is None
    else:
        assert isinstance(error, Torn)
        assert error.offset == (ends[whole - 1] if whole else 0)


@quick
@given(payloads, st.integers(0, 10_000), st.integers(1, 255))
def test_a_payload_byte_edited_together_with_its_checksum_is_caught_by_the_chain(
    items: list[bytes], at: int, flip: int
) -> None:
    data, ends = chain_of(items)
    which = at % len(items)
    begin, end = (0, *ends)[which], ends[which]
    payload = bytearray(data[begin + FRAME_HEAD : end])
    payload[at % len(payload)] ^= flip
    edited = frame(Kind.END, bytes(payload), data[begin + 10 : begin + 26])
    found, error = read_until(data[:begin] + edited + data[end:])

    assert found == items[:which]
    assert isinstance(error, Tampered)
    assert error.offset == begin


@quick
@given(payloads, st.integers(0, 10_000))
def test_a_frame_taken_out_or_put_twice_is_caught(items: list[bytes], at: int) -> None:
    data, ends = chain_of([*items, b"last"])
    which = at % len(items)
    begin, end = (0, *ends)[which], ends[which]

    assert isinstance(read_until(data[:begin] + data[end:])[1], Tampered)
    assert isinstance(read_until(data[:end] + data[begin:])[1], Tampered)


def test_the_frames_of_another_key_are_not_ours() -> None:
    data, _ = chain_of([b"one"], Secret("another"))

    assert isinstance(read_until(data)[1], Tampered)


def test_without_the_key_the_checksums_alone_are_read() -> None:
    data, _ = chain_of([b"one", b"two"], Secret("another"))

    assert read_until(data, key=None) == ([b"one", b"two"], None)


@pytest.mark.parametrize("key", [KEY, None])
def test_a_byte_edited_in_the_middle_is_an_alarm_and_not_a_torn_tail(key: Secret | None) -> None:
    data, ends = chain_of([b"first", b"second", b"third"])
    edited = bytearray(data)
    edited[ends[0] + FRAME_HEAD] ^= 1
    found, error = read_until(bytes(edited), key)

    assert found == [b"first"]
    assert isinstance(error, Tampered)


@pytest.mark.parametrize("change", [(0, 2), (0, 255), (1, 9)])
def test_a_frame_of_a_version_or_kind_to_come_is_not_taken_for_a_torn_tail(
    change: tuple[int, int],
) -> None:
    data = bytearray(chain_of([b"first"])[0])
    data[change[0]] = change[1]

    assert isinstance(read_until(bytes(data))[1], Tampered)


def test_zeros_that_a_power_cut_left_are_a_torn_tail() -> None:
    data, _ = chain_of([b"first"])

    for zeros in (1, FRAME_HEAD, 4096):
        found, error = read_until(data + bytes(zeros))
        assert found == [b"first"]
        assert isinstance(error, Torn)


def test_a_length_that_no_frame_has_is_an_alarm() -> None:
    data = struct.pack("<BBII16s", 1, 2, (16 << 20) + 1, 0, START)

    assert isinstance(read_until(data)[1], Tampered)


def test_a_last_frame_whose_bytes_did_not_all_reach_the_disk_is_a_torn_tail() -> None:
    data, _ = chain_of([b"first", b"second"])

    assert isinstance(read_until(data[:-3] + bytes(3))[1], Torn)


@quick
@given(st.binary(max_size=300))
def test_any_bytes_are_frames_torn_or_tampered(data: bytes) -> None:
    read_until(data)
    read_until(data, key=None)
    with suppress(Torn, Tampered):
        read_head(data)


HEADER = SegmentHeader(writer="w", boot="b", number=3, last=b"l" * 16)


def test_a_segment_header_reads_back() -> None:
    made = segment_head(HEADER)

    assert made.startswith(b"MODGATE\n")
    assert read_head(made + b"more") == (HEADER, len(made))


def test_a_header_cut_anywhere_is_torn() -> None:
    made = segment_head(HEADER)
    for cut in range(len(made)):
        with pytest.raises(Torn):
            read_head(made[:cut])


@pytest.mark.parametrize("at", [0, 8])
def test_a_file_that_is_not_ours_or_is_of_a_version_to_come_is_an_alarm(at: int) -> None:
    made = bytearray(segment_head(HEADER))
    made[at] += 1

    with pytest.raises(Tampered):
        read_head(bytes(made))


def test_a_whole_header_that_cannot_be_read_is_an_alarm() -> None:
    made = bytearray(segment_head(HEADER))
    made[12] = 0xC1  # never used in msgpack

    with pytest.raises(Tampered):
        read_head(bytes(made))


def test_a_header_says_its_version() -> None:
    made = segment_head(HEADER)

    assert msgspec.msgpack.decode(made[12:])["v"] == 1
