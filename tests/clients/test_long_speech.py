"""Speech without a pause is cut through, and still every word is written once."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from sdks import openai

from clients.sentences import distance, plain_words, sentence
from clients.speaking import HEARD_RATE, pressed, say

SENTENCES, WINDOW_S = 8, 30
WORD_ERRORS = 0.08


@pytest.mark.models
def test_a_hard_cut_loses_no_word_and_doubles_none(
    client: openai.OpenAI, dice: Random, figure: Callable[[str], None]
) -> None:
    """A small form of `bench/asr.py words`."""
    # Behind a dollar sign the small model may end whatever it hears; here the cut counts.
    said = [sentence(dice).replace("dollars", "minutes") for _ in range(SENTENCES)]
    with wave.open(io.BytesIO(say(client, " ".join(said)))) as sound:
        spoken = np.frombuffer(sound.readframes(1 << 30), "<i2").astype(np.float32) / 32768
    samples = pressed(spoken, 0)
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, HEARD_RATE, 0, "NONE", ""))
        sound.writeframes((samples * 32767).astype("<i2").tobytes())
    heard = client.audio.transcriptions.create(
        model="whisper-1",
        file=("a.wav", out.getvalue()),
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    wanted, found = plain_words(" ".join(said)), plain_words(heard.text)
    errors = distance(wanted, found)
    figure(f"speech cut through: WER {errors / len(wanted):.4f} ({errors} of {len(wanted)})")

    assert len(samples) > (WINDOW_S + 2) * HEARD_RATE
    assert errors / len(wanted) <= WORD_ERRORS
    assert heard.words
    assert [word.start for word in heard.words] == sorted(word.start for word in heard.words)
