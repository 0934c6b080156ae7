"""A recording in, speech and its windows out.  Runs in a decoder process: no modgate in here.

Speech is found by energy: a frame is speech when it is well above the quietest tenth of the
recording, and not too far below its loudest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
FRAME = RATE // 50  # 20 ms
GAP_FRAMES = 10  # a pause of less than 200 ms is no pause
SPEECH_FRAMES = 15  # speech of less than 300 ms is none that a voice can be told by
SILENCE_DB = -60.0
ABOVE_FLOOR_DB = 6.0
BELOW_PEAK_DB = 35.0
FLAT_DB = 12.0  # a recording that varies less than this is all speech

Samples = NDArray[np.float32]
Plain = Any  # JSON border: what msgpack carries, and modules without types


class Refused(Exception):
    """The file's fault; the gateway makes the client's error of it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = "file", code, reason


def prepare(
    file: BinaryIO,
    longest_s: float,
    window_s: float,
    hop_s: float,
    spool: Callable[[bytes], Plain],
) -> dict[str, Plain]:
    """The recording as 16 kHz mono s16 in the spool, with its length and its stretches of speech.

    `regions`: each a list of windows `[start, end]`, in samples; they overlap.
    """
    samples = _decoded(file, longest_s)
    pcm = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    regions = [
        [list(window) for window in windows(start, end, int(window_s * RATE), int(hop_s * RATE))]
        for start, end in speech(samples)
    ]
    return {"pcm": spool(pcm), "samples": len(samples), "regions": regions}


def _decoded(file: BinaryIO, longest_s: float) -> Samples:
    import soundfile

    blocks: list[Samples] = []
    total = 0
    try:
        for block in _at_rate(file):
            blocks.append(block)
            total += len(block)
            if total > longest_s * RATE:
                reason = f"the recording is longer than {longest_s:.0f} seconds"
                raise Refused("audio_too_long", reason)
    except soundfile.LibsndfileError:
        raise Refused("invalid_audio", "the audio file could not be decoded") from None
    if not total:
        raise Refused("invalid_audio", "the audio file holds no audio")
    return np.concatenate(blocks)


def _at_rate(file: BinaryIO) -> Iterator[Samples]:
    """Mono blocks of a second at 16 kHz."""
    import soundfile
    import soxr

    with soundfile.SoundFile(file) as sound:
        rate = sound.samplerate
        stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32") if rate != RATE else None
        while len(block := sound.read(max(rate, 1), dtype="float32", always_2d=True)):
            mono = block.mean(axis=1)
            yield mono if stream is None else stream.resample_chunk(mono)
        if stream is not None:
            yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def speech(samples: Samples) -> list[tuple[int, int]]:
    """The stretches of speech, in samples, in order."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    if not len(frames):
        return []
    energy_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    floor_db, peak_db = (float(each) for each in np.percentile(energy_db, (10, 95)))
    if peak_db < SILENCE_DB:
        return []
    least_db = peak_db - BELOW_PEAK_DB
    if peak_db - floor_db > FLAT_DB:
        least_db = max(least_db, floor_db + ABOVE_FLOOR_DB)
    found = _stretches(energy_db >= least_db)
    return [(begin * FRAME, end * FRAME) for begin, end in found if end - begin >= SPEECH_FRAMES]


def _stretches(loud: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of True, joined where the gap is short."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], loud.astype(np.int8), [0]))))
    joined: list[tuple[int, int]] = []
    for begin, end in edges.reshape(-1, 2).tolist():
        if joined and begin - joined[-1][1] < GAP_FRAMES:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def windows(start: int, end: int, length: int, hop: int) -> Iterator[tuple[int, int]]:
    """Windows of one length, one hop apart; the last ends with the stretch of speech."""
    at = start
    while at + length < end:
        yield at, at + length
        at += hop
    yield max(start, end - length), end
