"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

import math
import struct

from modgate.plugin import Sample, Units
from modgate_asr.spoken import HELLO

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


def tone(seconds: float) -> bytes:
    """A quiet tone as a WAV file."""
    rate = 16_000
    count = int(seconds * rate)
    data = b"".join(
        struct.pack("<h", int(3000 * math.sin(2 * math.pi * 440 * i / rate))) for i in range(count)
    )
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    front = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt "
    return front + form + b"data" + struct.pack("<I", len(data)) + data


_FILE = ("hello.wav", tone(1.0))
_SPOKEN_FILE = ("hello.ogg", HELLO)  # in front: `modgate try` sends it to a model that listens
_ENGINE = (
    b'{"task":"transcribe","language":"english","duration":1.0,"text":" Hello world.",'
    b'"segments":[{"id":0,"seek":0,"start":0.0,"end":0.9,"text":" Hello world.","tokens":[1],'
    b'"temperature":0.0,"avg_logprob":-0.2,"compression_ratio":1.2,"no_speech_prob":0.01}],'
    b'"words":[{"word":"Hello","start":0.0,"end":0.4},{"word":"world.","start":0.4,"end":0.9}]}'
)
_USAGE = Units(audio_ms=1000)
_JSON = {"text": "Hello world.", "usage": {"type": "duration", "seconds": 1}}


_TOKENS = (
    b'{"text":"Hello world.","logprobs":[{"token":"Hello","logprob":-0.1,"bytes":[72]},'
    b'{"token":" world.","logprob":-0.2,"bytes":[32]}],"usage":{"type":"tokens",'
    b'"input_tokens":10,"output_tokens":3,"total_tokens":13,'
    b'"input_token_details":{"text_tokens":0,"audio_tokens":10}}}'
)
_SPOKEN = (
    b'{"task":"transcribe","duration":1.0,"text":"Hello. World.","segments":['
    b'{"type":"transcript.text.segment","id":"x","start":0.0,"end":0.4,"text":"Hello.",'
    b'"speaker":"A"},{"type":"transcript.text.segment","id":"y","start":0.4,"end":0.9,'
    b'"text":"World.","speaker":"B"}]}'
)
_EVENTS = (
    b'{"type":"transcript.text.delta","delta":"Hello"}',
    b'{"type":"transcript.text.delta","delta":" world."}',
    b'{"type":"transcript.text.done","text":"Hello world."}',
)


def _sample(path: str, file: tuple[str, bytes] = _FILE, **more: str) -> Sample:
    form: dict[str, str | tuple[str, bytes]] = {"model": "m", **more, "file": file}
    plain = "response_format" not in more and "stream" not in more
    reply = _JSON if plain else None
    return Sample(path=path, form=form, upstream=[_ENGINE], reply=reply, usage=_USAGE)


SAMPLES = (
    _sample(TRANSCRIPTIONS, _SPOKEN_FILE),
    _sample(TRANSCRIPTIONS, response_format="verbose_json", language="en"),
    _sample(TRANSCRIPTIONS, response_format="srt"),
    _sample(TRANSCRIPTIONS, stream="true"),
    _sample(TRANSLATIONS),
    _sample(TRANSLATIONS, response_format="vtt"),
    _sample(TRANSLATIONS, response_format="text"),
    Sample(
        path=TRANSCRIPTIONS,
        form={"model": "m", "include[]": "logprobs", "file": _FILE},
        facts={"timestamps": "none", "logprobs": True},
        upstream=[_TOKENS],
        reply={
            "text": "Hello world.",
            "logprobs": [
                {"token": "Hello", "logprob": -0.1, "bytes": [72]},
                {"token": " world.", "logprob": -0.2, "bytes": [32]},
            ],
            "usage": {
                "type": "tokens",
                "input_tokens": 10,
                "output_tokens": 3,
                "total_tokens": 13,
                "input_token_details": {"audio_tokens": 10, "text_tokens": 0},
            },
        },
        usage=_USAGE,
    ),
    Sample(
        path=TRANSCRIPTIONS,
        form={"model": "m", "response_format": "diarized_json", "file": _FILE},
        facts={"diarizes": True},
        upstream=[_SPOKEN],
        usage=_USAGE,
    ),
    Sample(
        path=TRANSCRIPTIONS,
        form={"model": "m", "stream": "true", "file": _FILE},
        facts={"streams": True},
        upstream=[_EVENTS],
        usage=_USAGE,
    ),
)
