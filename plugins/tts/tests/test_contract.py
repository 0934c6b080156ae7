"""The contract, applied to tts."""

from __future__ import annotations

import base64

import orjson

from modgate.kit.sse import Splitter
from modgate.testing import Contract, Played
from modgate_tts import modgate_dialects
from modgate_tts.modality import Tts


class TestTts(Contract):
    """Every rule of the kit."""

    modality = Tts
    dialects = modgate_dialects()

    def meaning(self, played: Played) -> object:
        """Audio in events may be cut anywhere: what counts is the audio, and the other events."""
        if played.head.kind != "sse":
            return played.reply
        events = Splitter().feed(played.reply)
        said = [orjson.loads(event.data) for event in events if event.data != b"[DONE]"]
        audio = b"".join(base64.b64decode(each["audio"]) for each in said if "audio" in each)
        return audio, [each for each in said if "audio" not in each]
