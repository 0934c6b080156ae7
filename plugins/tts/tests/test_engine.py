"""The local voice: its first moment is a reply's first piece, and nothing is lost behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modgate.kit.serve import Incoming
from modgate_tts.engine import OPENING_BYTES, Hibari

pytestmark = pytest.mark.models


def test_the_first_moment_of_a_sentence_leaves_alone() -> None:
    pytest.importorskip("hibari")  # of the local engine
    voice = Hibari(Path(), 1)
    voice.load(lambda text: None)
    said = voice._speak(Incoming(fields={"input": "Good morning. How are you?"}))
    pieces = list(said.pieces)

    assert len(pieces[0]) == OPENING_BYTES
    assert b"".join(pieces) == b"".join(voice._pcm("Good morning. How are you?", 1.0))
