"""Three speakers who were never born: pulses of a pitch through the resonances of a vocal tract."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
# First three formants of five vowels of a grown man; Source: Peterson and Barney, 1952.
VOWELS = (
    *((270, 2290, 3010), (530, 1840, 2480), (730, 1090, 2440)),
    *((570, 840, 2410), (300, 870, 2240)),
)
WIDTHS = (60, 90, 150, 200)

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """`pitch` in hertz; `tract`: how much shorter the vocal tract is than that man's."""

    pitch: float
    tract: float


VOICES = (Voice(105, 1.0), Voice(165, 1.13), Voice(235, 1.25))


def talk(voice: Voice, length_s: float, chance: np.random.Generator) -> Samples:
    """Vowels, four or five a second, with a melody of its own."""
    pieces: list[Samples] = []
    left = int(length_s * RATE)
    while left > 0:
        count = min(left, int(RATE * chance.uniform(0.18, 0.28)))
        vowel = VOWELS[int(chance.integers(len(VOWELS)))]
        pieces.append(_syllable(voice, vowel, count, chance))
        left -= count
    return np.concatenate(pieces)


def _syllable(
    voice: Voice, vowel: tuple[int, ...], count: int, chance: np.random.Generator
) -> Samples:
    glide = np.linspace(chance.uniform(0.92, 1.08), chance.uniform(0.92, 1.08), count)
    phase = np.cumsum(voice.pitch * glide / RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = pulses + 0.01 * chance.standard_normal(count)
    bins = np.fft.rfftfreq(2 * count, 1 / RATE)
    shape = 1 / (1 + (bins / 500) ** 1.5)
    for formant, width in zip((*vowel, 3500), WIDTHS, strict=True):
        centre = formant * voice.tract
        shape = shape + 1.0 / (1 + ((bins - centre) / width) ** 2)
    spoken = np.fft.irfft(np.fft.rfft(source, 2 * count) * shape)[:count]
    envelope = np.sin(np.pi * np.linspace(0.05, 0.95, count)) ** 0.5
    return np.asarray(spoken / np.sqrt(np.mean(spoken**2)) * envelope * 0.1)


def meeting(turns: list[tuple[int, float]], pause_s: float, seed: int) -> Samples:
    """Turns of (voice, seconds) with pauses between them, and the hiss of a room."""
    chance = np.random.default_rng(seed)
    silence = np.zeros(int(pause_s * RATE))
    pieces = [part for who, s in turns for part in (talk(VOICES[who], s, chance), silence)]
    whole = np.concatenate(pieces)
    return whole + 0.0005 * chance.standard_normal(len(whole))


def wav(samples: Samples) -> bytes:
    """As a file."""
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return written.getvalue()
