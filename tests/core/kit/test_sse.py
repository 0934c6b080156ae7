"""Events are found wherever the network cut them, and a long one costs its length."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.kit.sse import EVENT_AT_MOST, Splitter
from modgate.plugin import BadReply

CHUNK = 64 << 10
ENDS = st.sampled_from(("\n\n", "\r\n\r\n", "\r\r", "\r\n\n"))
BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(("data: a", "data:b", ": ping", "event: x\ndata: c", "data: ü")), ENDS
    ),
    max_size=6,
)


@given(BLOCKS, st.lists(st.integers(0, 200), max_size=12))
@settings(derandomize=True, deadline=None)
def test_any_cut_gives_the_same_events(blocks: list[tuple[str, str]], cuts: list[int]) -> None:
    whole = "".join(f"{text}{end}" for text, end in blocks).encode()
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    at_once, in_parts = Splitter(), Splitter()

    wanted = [(e.name, e.data) for e in (*at_once.feed(whole), *at_once.feed(b"\n\n"))]
    found = [e for a, b in itertools.pairwise(places) for e in in_parts.feed(whole[a:b])]
    found += in_parts.feed(b"\n\n")

    assert [(e.name, e.data) for e in found] == wanted
    assert len(wanted) == sum(text != ": ping" for text, _ in blocks)


def _fed(size: int) -> int:
    """How many events come of one that is `size` bytes long, in chunks."""
    event = b"data: " + b"x" * (size - 6) + b"\n\n"
    splitter = Splitter()
    return sum(len(splitter.feed(event[at : at + CHUNK])) for at in range(0, len(event), CHUNK))


def test_an_event_of_8_mib_is_whole() -> None:
    assert _fed(EVENT_AT_MOST) == 1


@pytest.mark.parametrize("beyond", [1, 1024, CHUNK * 3])
def test_a_longer_event_is_refused_even_if_it_ends_in_the_same_chunk(beyond: int) -> None:
    with pytest.raises(BadReply):
        _fed(EVENT_AT_MOST + beyond)


def test_a_long_event_is_searched_once() -> None:
    splitter, line = Splitter(), b"x" * CHUNK
    splitter.feed(b"data: \r")
    began = time.process_time()
    for _ in range(EVENT_AT_MOST // CHUNK - 1):
        splitter.feed(line)

    assert time.process_time() - began < 1.0
