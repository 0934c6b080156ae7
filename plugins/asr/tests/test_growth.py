"""Work grows with a reply as its rows do, whatever an engine says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import orjson
import pytest

from modgate.plugin import Event, JsonObject
from modgate_asr.formats import Wanted
from modgate_asr.heard import Piece
from modgate_asr.relay import Transcribed

RATE = 16_000
WHOLE = Piece(start=0, fresh=0, end=30 * RATE, next=30 * RATE)
FIRST = Piece(start=0, fresh=0, end=30 * RATE, next=28 * RATE)
SECOND = Piece(start=28 * RATE, fresh=30 * RATE, end=40 * RATE, next=40 * RATE)
FEW, TIMES = 200, 4


def tokens(count: int) -> list[JsonObject]:
    return [{"token": " word", "logprob": -0.5, "bytes": []} for _ in range(count)]


def segments(count: int) -> list[JsonObject]:
    return [{"start": 1.0, "end": 2.0, "text": " word"} for _ in range(count)]


def words(count: int, at: float) -> list[JsonObject]:
    return [{"word": "word", "start": at, "end": at} for _ in range(count)]


def many_tokens(count: int) -> list[tuple[Piece, JsonObject]]:
    text = "word " * count
    return [(WHOLE, {"text": text, "segments": segments(count), "logprobs": tokens(count)})]


def many_words(count: int) -> list[tuple[Piece, JsonObject]]:
    """Most of what two pieces say lies in their overlap."""
    text = "word " * count
    return [
        (FIRST, {"text": text, "words": words(count, 29.0)}),
        (SECOND, {"text": text, "words": words(count, 1.0)}),
    ]


def deltas(count: int) -> list[tuple[Piece, JsonObject]]:
    return [(WHOLE, {"type": "transcript.text.delta", "delta": " word"})] * count


def lines_run(heard: list[tuple[Piece, JsonObject]]) -> int:
    """How many lines of Python a stream of these takes."""
    relay = Transcribed(Wanted(format="json", task="transcribe", stream=True, logprobs=True))
    places = list(dict.fromkeys(piece for piece, _ in heard))
    for piece in places:
        relay.drew(piece)
    count = 0

    def step(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        for piece, reply in heard:
            list(relay.feed(places.index(piece), Event(orjson.dumps(reply))))
        list(relay.close(()))
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("reply", [many_tokens, many_words, deltas])
def test_a_reply_takes_as_much_work_for_each_of_its_rows(
    reply: Callable[[int], list[tuple[Piece, JsonObject]]],
) -> None:
    assert lines_run(reply(TIMES * FEW)) < 1.25 * TIMES * lines_run(reply(FEW))
