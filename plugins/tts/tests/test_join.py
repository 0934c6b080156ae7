from __future__ import annotations

import math
from array import array
from itertools import pairwise

import pytest

from modgate_tts.join import FADE, Joiner

RATE = 24_000


def tone(samples: int, *, phase: float = 0.0, rate: int = RATE) -> bytes:
    """A loud tone of 180 Hz: a jump in it is heard, and seen."""
    step = 2 * math.pi * 180 / rate
    return array(
        "h", (round(9000 * math.sin(phase + step * at)) for at in range(samples))
    ).tobytes()


def steepest(pcm: bytes, at: int) -> int:
    """The largest step from one sample to the next, near sample `at`."""
    samples = array("h", pcm[max(0, at - 240) * 2 : (at + 240) * 2])
    return max(abs(after - before) for before, after in pairwise(samples))


PIECES = [tone(4801, phase=0.3), tone(5000, phase=1.7), tone(3000, phase=4.0)]
JOINTS = [4801, 9801]
ODD = (1, 2, 3, 191, 192, 193, 7919)


def joined(pieces: list[bytes], *, step: int = 960, pause_ms: int = 0, rate: int = RATE) -> bytes:
    joiner = Joiner(len(pieces) - 1, pause_ms)
    out = [
        joiner.feed(number, piece[at : at + step], rate)
        for number, piece in enumerate(pieces)
        for at in range(0, len(piece), step)
    ]
    return b"".join(out) + joiner.end()


def test_a_joint_does_not_click_where_end_to_end_would() -> None:
    plain, faded = b"".join(PIECES), joined(PIECES)
    inside = steepest(plain, 2000)

    for joint in JOINTS:
        assert steepest(plain, joint) > 4 * inside
        assert steepest(faded, joint) < 2 * inside


def test_joined_speech_is_as_long_as_its_pieces_and_the_same_but_at_the_joints() -> None:
    plain, faded = array("h", b"".join(PIECES)), array("h", joined(PIECES))
    differing = {at for at, (a, b) in enumerate(zip(plain, faded, strict=True)) if a != b}

    assert differing <= {at for joint in JOINTS for at in range(joint - FADE, joint + FADE)}


@pytest.mark.parametrize("step", ODD)
def test_it_is_the_same_wherever_it_is_cut(step: int) -> None:
    assert joined(PIECES, step=step) == joined(PIECES)


def test_one_piece_is_left_as_it_is() -> None:
    assert joined(PIECES[:1]) == PIECES[0]


def test_half_a_sample_at_the_end_of_a_piece_shifts_no_other() -> None:
    assert joined([PIECES[0] + b"x", PIECES[1]]) == joined(PIECES[:2])


@pytest.mark.parametrize("size", [0, 2, 4, 2 * FADE - 2])
def test_a_piece_shorter_than_a_fade_is_joined_too(size: int) -> None:
    short = [PIECES[0], PIECES[1][:size], PIECES[2]]

    assert len(joined(short)) == sum(map(len, short))


def test_a_pause_is_silence_between_pieces_and_nowhere_else() -> None:
    paused = joined(PIECES, pause_ms=100)
    silence = bytes(RATE // 10 * 2)

    assert len(paused) == sum(map(len, PIECES)) + 2 * len(silence)
    assert paused[JOINTS[0] * 2 :].startswith(silence)
    assert paused[: JOINTS[0] * 2] == joined(PIECES)[: JOINTS[0] * 2]


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_speech_of_another_rate_is_as_long_and_does_not_click(rate: int) -> None:
    pieces = [tone(rate // 2, phase=each, rate=rate) for each in (0.3, 1.7)]
    found = joined(pieces, rate=rate)

    assert len(found) == pytest.approx(RATE * 2, rel=0.001)
    assert steepest(found, RATE // 2) < 2 * steepest(tone(RATE), 2000)
    assert joined(pieces, rate=rate, step=777) == found
