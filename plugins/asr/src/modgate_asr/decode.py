"""Cutting a recording into pieces for engines.

A piece ends in the middle of the longest silence between the least and the longest window.  When
nothing is silent there, it ends in a hard cut, and the next piece begins with an overlap, so that
the words at the cut are heard twice and can be joined.

This runs in decoder processes, so it imports no part of the gateway.

Source: algorithms.md 6.1, architecture.md 12.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from modgate_asr.sound import RATE, Plain, Refused, blocks, too_long

if TYPE_CHECKING:
    from modgate_asr.sound import Samples

FRAME = RATE // 50  # 20 ms
FLOOR_FACTOR = 4.0  # +6 dB above the noise floor, in energy
LOUD_FACTOR = 10.0  # silence is at least 10 dB below what is loud: a steady sound is no silence
SILENT = 1e-7  # -70 dBFS: below it there is no speech that a 16-bit engine could hear
LEAST_SHARE = 0.6  # of the longest window: a cut must leave room to look for silence
OVERLAP_SHARE = 0.25

Spool = Callable[[bytes], Plain]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where to cut.

    `longest`, `least`: of a piece.  `overlap`: after a hard cut.  All three are in samples.
    `quiet_frames`: how many frames of 20 ms a silence has at least.
    """

    longest: int
    least: int
    overlap: int
    quiet_frames: int


def rule_of(wanted: dict[str, float]) -> Rule:
    """The rule that `{longest_s, least_s, overlap_s, silence_ms}` wants.

    `least_s` and `overlap_s` are made smaller where they do not fit into `longest_s`.
    """
    longest_s = wanted["longest_s"]
    return Rule(
        longest=int(longest_s * RATE),
        least=int(min(wanted["least_s"], longest_s * LEAST_SHARE) * RATE),
        overlap=int(min(wanted["overlap_s"], longest_s * OVERLAP_SHARE) * RATE),
        quiet_frames=max(1, round(wanted["silence_ms"] / 20)),
    )


def windows(
    file: BinaryIO, wanted: dict[str, float], whole_s: float, spool: Spool
) -> Iterator[dict[str, Plain]]:
    """Each piece, as `{file, start, end, fresh, next}`.

    `file`: a WAV in the spool; a silent piece has none.  The others are in samples at 16 kHz, and
    mean what they mean in `Piece` (heard.py).  Refused when there are more than `whole_s` seconds
    of audio, however short its header said that it is.
    """
    import numpy as np  # here and below, for the gateway has no use for it

    rule = rule_of(wanted)
    held: Samples = np.zeros(0, dtype=np.float32)
    start = fresh = total = 0
    for block in blocks(file):
        total += len(block)
        if total > whole_s * RATE:
            raise too_long(whole_s)
        held = np.concatenate((held, block))
        while len(held) > rule.longest:
            cut, silent = quietest(held, rule)
            keep = cut if silent else cut - rule.overlap
            yield _piece(spool, held[:cut], start, fresh, start + keep)
            fresh = start + cut
            held = held[keep:]
            start += keep
    if total == 0:
        raise Refused("the audio file holds no audio")
    yield _piece(spool, held, start, fresh, start + len(held))


def _energy(samples: Samples) -> Samples:
    """The energy of each frame that is whole."""
    import numpy as np

    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    energy: Samples = np.square(frames).mean(axis=1)
    return energy


def quietest(held: Samples, rule: Rule) -> tuple[int, bool]:
    """Where to cut, in samples, and whether it is silent there; else it is a hard cut."""
    import numpy as np

    energy = _energy(held[: rule.longest])
    floor, loud = (float(level) for level in np.percentile(energy, (10, 95)))
    first = rule.least // FRAME
    quiet = energy[first:] <= max(SILENT, min(floor * FLOOR_FACTOR, loud / LOUD_FACTOR))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
    begins, lengths = edges[::2], edges[1::2] - edges[::2]
    if len(lengths) == 0 or lengths.max() < rule.quiet_frames:
        return rule.longest, False
    best = int(lengths.argmax())
    return (first + int(begins[best]) + int(lengths[best]) // 2) * FRAME, True


def _piece(spool: Spool, samples: Samples, start: int, fresh: int, behind: int) -> dict[str, Plain]:
    import numpy as np

    place = {"start": start, "end": start + len(samples), "fresh": fresh, "next": behind}
    rest = samples[len(samples) // FRAME * FRAME :]
    loudest = max(float(_energy(samples).max(initial=0)), float(np.square(rest).max(initial=0)))
    if loudest <= SILENT:
        return place
    pcm = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return {**place, "file": spool(wav_header(len(pcm)) + pcm)}


def wav_header(size: int) -> bytes:
    """The header of a WAV file of 16 kHz mono 16-bit samples, which have `size` bytes."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
    front = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
    return front + form + b"data" + struct.pack("<I", size)
