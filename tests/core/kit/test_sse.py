from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.errors import BadReply
from modgate.kit.sse import EVENT_AT_MOST, Splitter

STREAM = (
    b": keep-alive\n\n"
    b'data: {"a":1}\n\n'
    b"event: ping\ndata: {}\n\n"
    b"id: 7\nretry: 10\ndata: one\ndata: two\n\n"
    b"data: caf\xc3\xa9 \xe2\x80\xa8\n\n"
    b"data: [DONE]\n\n"
)
SAID = [
    ("", b'{"a":1}'),
    ("ping", b"{}"),
    ("", b"one\ntwo"),
    ("", b"caf\xc3\xa9 \xe2\x80\xa8"),
    ("", b"[DONE]"),
]


def said(pieces: list[bytes]) -> tuple[list[tuple[str, bytes]], bool]:
    splitter = Splitter()
    found = [(e.name, e.data) for piece in pieces for e in splitter.feed(piece)]
    return found, splitter.end()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@settings(derandomize=True, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_events_are_the_same_wherever_the_network_cuts(end: bytes, cuts: list[int]) -> None:
    stream = STREAM.replace(b"\n", end)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in pairwise(places)]

    found, whole = said(pieces)

    assert found == SAID
    assert whole


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=16, max_size=16),
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
def test_lines_of_one_stream_end_in_any_way(ends: list[bytes], cuts: list[int]) -> None:
    lines = STREAM.split(b"\n")
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    plain = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})

    found = said([stream[a:b] for a, b in pairwise(places)])

    assert found == said([plain])


def test_an_event_that_ends_by_a_return_does_not_wait_for_the_next_one() -> None:
    splitter = Splitter()

    first = splitter.feed(b"data: a\r\r")
    second = splitter.feed(b"\ndata: b\r\n\r")

    assert [event.data for event in (*first, *second)] == [b"a", b"b"]
    assert splitter.end()


def test_every_single_byte_boundary_gives_the_same_events() -> None:
    for at in range(len(STREAM) + 1):
        assert said([STREAM[:at], STREAM[at:]]) == (SAID, True)


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,), (1, 2)])
def test_a_byte_order_mark_is_not_part_of_the_first_event(cuts: tuple[int, ...]) -> None:
    stream = b"\xef\xbb\xbfdata: x\n\n"
    places = [0, *cuts, len(stream)]

    assert said([stream[a:b] for a, b in pairwise(places)]) == ([("", b"x")], True)


def test_a_stream_that_ends_inside_an_event_was_cut() -> None:
    assert said([b"data: x\n\ndata: y"]) == ([("", b"x")], False)


def test_an_event_of_more_than_8_mib_is_a_bad_reply() -> None:
    splitter = Splitter()

    splitter.feed(b"x" * EVENT_AT_MOST)

    with pytest.raises(BadReply):
        splitter.feed(b"x")
