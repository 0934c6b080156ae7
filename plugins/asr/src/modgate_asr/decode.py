"""Audio in, 16 kHz mono pieces out: runs in decoder processes, so it imports no part of the
gateway.

Cuts follow algorithms.md 6.1: in the middle of the quietest stretch between the least and the
longest window; where nothing is quiet, a hard cut with an overlap.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
FRAME = RATE // 50  # 20 ms
QUIET_FRAMES = 15  # 300 ms
FLOOR_FACTOR = 4.0  # +6 dB above the noise floor, in energy
BLOCK_S = 1.0
OPEN_END = (1 << 63) - 1  # libsndfile's frames of a FLAC stream without a length: it cannot read on

Samples = NDArray[np.float32]
Plain = Any  # JSON border: what msgpack carries, and modules without types


class Refused(Exception):
    """The file's fault; the gateway makes the client's error of it."""

    def __init__(self, reason: str, code: str = "invalid_audio") -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = "file", code, reason


def probe(file: BinaryIO, longest_s: float) -> dict[str, Plain]:
    """How long the audio is by its header, in milliseconds; refuses what cannot be decoded."""
    import soundfile

    milliseconds = None
    try:
        with soundfile.SoundFile(file) as sound:
            if sound.frames <= 0 or sound.samplerate <= 0:
                raise Refused("the audio file holds no audio")
            if sound.frames != OPEN_END:
                milliseconds = -(-sound.frames * 1000 // sound.samplerate)
    except soundfile.LibsndfileError:
        pass
    if milliseconds is None:
        milliseconds = _probe_container(file)
    if milliseconds > longest_s * 1000:
        raise Refused(f"the audio is longer than {longest_s:.0f} seconds", "audio_too_long")
    return {"milliseconds": int(milliseconds)}


def _probe_container(file: BinaryIO) -> int:
    """The duration of what libsndfile cannot read (webm, m4a): by its packets, without decoding."""
    av = _av()
    file.seek(0)
    try:
        with av.open(file, "r") as container:
            stream = container.streams.audio[0]
            end = 0.0
            for packet in container.demux(stream):
                if packet.pts is not None and stream.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * stream.time_base))
    except (av.FFmpegError, IndexError, ValueError, OSError):
        raise Refused("the audio file could not be decoded") from None
    if end <= 0:
        raise Refused("the audio file holds no audio")
    return int(-(-end * 1000 // 1))


def _av() -> Plain:
    try:
        import av
    except ImportError:
        reason = "this audio format needs the extra modgate[codecs]; send wav, flac, ogg or mp3"
        raise Refused(reason, "unsupported_media_type") from None
    return av


def _blocks(file: BinaryIO) -> Iterator[tuple[Samples, int]]:
    """Mono blocks of about a second with their rate."""
    import soundfile

    file.seek(0)
    try:
        with soundfile.SoundFile(file) as sound:
            step = max(1, int(sound.samplerate * BLOCK_S))
            if sound.frames != OPEN_END:
                while len(block := sound.read(step, dtype="float32", always_2d=True)):
                    yield block.mean(axis=1), sound.samplerate
                return
    except soundfile.LibsndfileError:
        pass
    av = _av()
    file.seek(0)
    try:
        with av.open(file, "r") as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    yield piece.to_ndarray().reshape(-1).astype(np.float32), RATE
    except (av.FFmpegError, IndexError, ValueError, OSError):
        raise Refused("the audio file could not be decoded") from None


def _at_rate(file: BinaryIO) -> Iterator[Samples]:
    import soxr

    stream = None
    for block, rate in _blocks(file):
        if rate == RATE:
            yield block
            continue
        if stream is None:
            stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        yield stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def windows(
    file: BinaryIO,
    longest_s: float,
    least_s: float,
    overlap_s: float,
    whole_s: float,
    spool: Callable[[bytes], Plain],
) -> Iterator[dict[str, Plain]]:
    """Each piece as a WAV in the spool: `{file, start, end, fresh}` in samples at 16 kHz.

    `fresh` is where the piece's own audio begins: before it lies the overlap with the piece in
    front. Audio over `whole_s` seconds is refused, however short its header said it is.
    """
    longest, least = int(longest_s * RATE), int(min(least_s, longest_s * 0.6) * RATE)
    overlap = int(min(overlap_s, longest_s / 4) * RATE)
    held: Samples = np.zeros(0, dtype=np.float32)
    start = fresh = total = 0
    for block in _at_rate(file):
        total += len(block)
        if total > whole_s * RATE:
            raise Refused(f"the audio is longer than {whole_s:.0f} seconds", "audio_too_long")
        held = np.concatenate((held, block))
        while len(held) > longest:
            cut, silent = quietest(held, least, longest)
            yield _piece(spool, held[:cut], start, fresh)
            fresh = start + cut
            keep = cut if silent else cut - overlap
            held = held[keep:]
            start += keep
    if start + len(held) > fresh:
        yield _piece(spool, held, start, fresh)
    elif total == 0:
        raise Refused("the audio file holds no audio")


def quietest(held: Samples, least: int, longest: int) -> tuple[int, bool]:
    """Where to cut, in samples, and whether it is silent there."""
    frames = held[: longest // FRAME * FRAME].reshape(-1, FRAME)
    energy = np.square(frames).mean(axis=1)
    floor = max(float(np.percentile(energy, 10)), 1e-8)
    quiet = energy[least // FRAME :] <= floor * FLOOR_FACTOR
    best, best_length, begin = 0, 0, None
    for index, still in enumerate([*quiet.tolist(), False]):
        if still and begin is None:
            begin = index
        elif not still and begin is not None:
            if index - begin > best_length:
                best, best_length = begin, index - begin
            begin = None
    if best_length < QUIET_FRAMES:
        return longest, False
    return (least // FRAME + best + best_length // 2) * FRAME, True


def _piece(
    spool: Callable[[bytes], Plain], samples: Samples, start: int, fresh: int
) -> dict[str, Plain]:
    pcm = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    token = spool(wav_header(len(pcm)) + pcm)
    return {"file": token, "start": start, "end": start + len(samples), "fresh": fresh}


def wav_header(size: int) -> bytes:
    """A RIFF header for 16 kHz mono s16."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
    front = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
    return front + form + b"data" + struct.pack("<I", size)
