"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from modgate.plugin import Json, Sample, Units

PATH = "/v1/audio/diarizations"
RATE = 8000


def tones(*lengths_s: float) -> bytes:
    """Tones with half a second of silence between them, as a WAV file: it is speech by energy."""
    data = b""
    for index, length_s in enumerate(lengths_s):
        hertz = 200 + 100 * (index % 2)
        data += b"\x00\x00" * (RATE // 2 if index else 0)
        data += b"".join(
            struct.pack("<h", int(9000 * math.sin(2 * math.pi * hertz * at / RATE)))
            for at in range(int(length_s * RATE))
        )
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
    front = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt "
    return front + form + b"data" + struct.pack("<I", len(data)) + data


def _sample(
    audio: bytes, embeddings: list[list[float]], reply: Json, audio_ms: int, **more: str
) -> Sample:
    """One call's worth of windows: the decoder really cuts them, the engine is played."""
    form: Mapping[str, str | tuple[str, bytes]] = {
        "model": "m",
        **more,
        "file": ("talk.wav", audio),
    }
    said = str({"embeddings": embeddings}).replace("'", '"').encode()
    answers = [..., [said]] if embeddings else []
    usage = Units(audio_ms=audio_ms)
    return Sample(path=PATH, form=form, answers=answers, reply=reply, usage=usage)


def _reply(duration: float, seconds: int, *turns: tuple[float, float, int]) -> Json:
    segments = [
        {"start": start, "end": end, "speaker": f"speaker_{who}"} for start, end, who in turns
    ]
    return {
        "duration": duration,
        "speakers": sorted({str(segment["speaker"]) for segment in segments}),
        "segments": segments,
        "usage": {"type": "duration", "seconds": seconds},
    }


LOW, HIGH = [1.0, 0.1], [0.1, 1.0]
_TWO, _ONE = tones(1.2, 1.2), tones(1.2)
_BOTH = _reply(2.9, 3, (0.0, 1.2, 1), (1.7, 2.9, 2))

SAMPLES = (
    _sample(_TWO, [LOW, HIGH], _BOTH, 2900, num_speakers="2"),
    _sample(_TWO, [LOW, LOW], _reply(2.9, 3, (0.0, 1.2, 1), (1.7, 2.9, 1)), 2900),
    _sample(_ONE, [LOW], _reply(1.2, 2, (0.0, 1.2, 1)), 1200, max_speakers="3"),
    _sample(tones(0.1), [], _reply(0.1, 1), 100),
)
