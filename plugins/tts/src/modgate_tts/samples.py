"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

from modgate.plugin import Sample, Units

PATH = "/v1/audio/speech"
TEXT = "Hello there."
_PCM = b"\x10\x00" * 12_000  # half a second


def _sample(**more: str) -> Sample:
    return Sample(
        path=PATH,
        json={"model": "m", "voice": "alloy", "input": TEXT, **more},
        upstream=[[_PCM[:9001], _PCM[9001:]]],
        usage=Units(characters=len(TEXT), speech_ms=500),
    )


SAMPLES = (
    _sample(response_format="wav"),
    _sample(response_format="pcm"),
    _sample(response_format="pcm", stream_format="sse"),
    _sample(response_format="flac"),
)
