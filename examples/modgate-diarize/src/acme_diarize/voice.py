"""What a voice sounds like, in numbers: the spectral envelope and the pitch, by plain numpy.

This is no neural speaker model.  It tells apart voices that differ in vocal tract or pitch, in
clean recordings; put a real model (ECAPA, CAM++, ResNet) behind the same home wire for more.

Source: S. B. Davis and P. Mermelstein, Comparison of parametric representations for monosyllabic
word recognition, 1980, for the cepstrum; D. A. Reynolds, 1995, for its mean as a voice's print.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
FRAME, STEP, FFT = 400, 160, 512
BANDS, CEPSTRA = 40, 16
LOW_HZ, HIGH_HZ = 80.0, 7600.0
PITCH_HZ = (70.0, 400.0)
VOICED = 0.4  # of a frame's energy that repeats after one period
MIDDLE_HZ = 150.0
PITCH_WEIGHT = 12.0  # an octave of pitch counts as much as so many units of cepstrum

Numbers = NDArray[np.float64]


def embedding(samples: NDArray[np.float32] | Numbers) -> list[float]:
    """A window of speech as one vector; distances between them are Euclidean."""
    frames = _frames(samples.astype(np.float64))
    loud = np.square(frames).mean(axis=1)
    kept = frames[loud >= np.median(loud)]
    cepstra = _cepstra(kept)
    pitch = _pitch(kept)
    voice = np.concatenate((cepstra.mean(axis=0), [PITCH_WEIGHT * np.log2(pitch / MIDDLE_HZ)]))
    return [round(float(each), 5) for each in voice]


def _frames(samples: Numbers) -> Numbers:
    padded = np.pad(samples, (0, max(0, FRAME - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::STEP]


def _cepstra(frames: Numbers) -> Numbers:
    """The shape of the spectrum, without its level."""
    spectrum = np.abs(np.fft.rfft(frames * np.hamming(FRAME), FFT)) ** 2
    bands = np.log(spectrum @ _mel().T + 1e-10)
    order = np.arange(1, CEPSTRA + 1)[:, None]
    cosines = np.cos(np.pi * order * (np.arange(BANDS) + 0.5) / BANDS)
    return np.asarray(bands @ cosines.T * np.sqrt(2 / BANDS))


def _mel() -> Numbers:
    """Triangles, equally wide in mel."""
    edges = np.linspace(_to_mel(LOW_HZ), _to_mel(HIGH_HZ), BANDS + 2)
    hertz = 700 * (np.exp(edges / 1127) - 1)
    bins = np.fft.rfftfreq(FFT, 1 / RATE)
    rising = (bins - hertz[:-2, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
    falling = (hertz[2:, None] - bins) / (hertz[2:] - hertz[1:-1])[:, None]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def _to_mel(hertz: float) -> float:
    return float(1127 * np.log(1 + hertz / 700))


def _pitch(frames: Numbers) -> float:
    """The middle pitch of the voiced frames; MIDDLE_HZ when none is voiced."""
    least, most = int(RATE / PITCH_HZ[1]), int(RATE / PITCH_HZ[0])
    spectrum = np.abs(np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), 2 * FFT)) ** 2
    repeats = np.fft.irfft(spectrum)[:, : most + 1]
    strength = repeats[:, least:] / np.maximum(repeats[:, :1], 1e-12)
    lags = least + np.argmax(strength, axis=1)
    voiced = strength.max(axis=1) >= VOICED
    return float(RATE / np.median(lags[voiced])) if voiced.any() else MIDDLE_HZ
