"""The local voice: its first moment is a reply's first piece, and nothing is lost behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modgate.kit.serve import Incoming
from modgate_tts.engine import OPENING_BYTES, Hibari

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def voice() -> Hibari:
    pytest.importorskip("hibari")  # of the local engine
    voice = Hibari(Path(), 1)
    voice.load(lambda text: None)
    return voice


def test_the_first_moment_of_a_sentence_leaves_alone(voice: Hibari) -> None:
    said = voice._speak(Incoming(fields={"input": "Good morning. How are you?"}))
    pieces = list(said.pieces)

    assert len(pieces[0]) == OPENING_BYTES
    assert b"".join(pieces) == b"".join(voice._pcm("Good morning. How are you?", 1.0))


def test_of_a_single_sentence_it_is_told_how_long_it_is(voice: Hibari) -> None:
    one = voice._speak(Incoming(fields={"input": "Good morning."}))
    two = voice._speak(Incoming(fields={"input": "Good morning. How are you?"}))

    assert one.size_bytes == len(b"".join(one.pieces))
    assert two.size_bytes is None
