"""Speech made by the gateway itself, for what listens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sdks import openai

SAID = "The quick brown fox jumps over the lazy dog."
SPOKEN_RATE, HEARD_RATE = 24_000, 16_000
FRAME, STILL_FRAMES = HEARD_RATE // 100, 6  # of 10 ms
STILL = 0.01  # of the loudest
NOISE_DB = 25.0

Samples = NDArray[np.float32]


def say(client: openai.OpenAI, text: str) -> bytes:
    """A WAV file in which the text is spoken."""
    return client.audio.speech.create(
        model="tts-1", voice="alloy", input=text, response_format="wav"
    ).read()


def pressed(spoken: Samples, seed: int, noise_db: float = NOISE_DB) -> Samples:
    """Speech of 24 kHz at 16 kHz, with white noise so far below it, no pause over 60 ms."""
    import soxr

    samples: Samples = soxr.resample(spoken, SPOKEN_RATE, HEARD_RATE)
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    level = np.sqrt(np.square(frames).mean(axis=1))
    run, kept = 0, []
    for place, still in enumerate(level < STILL * np.percentile(level, 99)):
        run = run + 1 if still else 0
        if run <= STILL_FRAMES:
            kept.append(place)
    voice = frames[kept].reshape(-1)
    power = float(np.square(voice).mean()) / 10 ** (noise_db / 10)
    noise = np.random.default_rng(seed).normal(0, power**0.5, len(voice))
    return np.clip(voice + noise, -1, 1).astype(np.float32)
