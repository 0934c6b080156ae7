"""The local engine: voices by numpy, so that the plugin can be tried with nothing else there."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

from modgate.kit.serve import Incoming, serve
from modgate.plugin import Json, LocalEngine, Refused, Report

RATE = 16_000


class VoicePrint(LocalEngine):
    """Answers the home wire with spectral envelope and pitch: a computation, not a model."""

    modality = "diarize"
    model = "voice-print"
    aliases = ("diarize-1",)
    facts = {"metric": "euclidean", "threshold": 6.0}
    note = "voices by spectral envelope and pitch; no neural model"

    def missing(self) -> Sequence[str]:
        """Nothing: numpy is a dependency."""
        return ()

    def load(self, report: Report) -> None:
        """Import what computes."""
        report("loading numpy")
        from acme_diarize.voice import embedding

        self._embedding = embedding

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/speaker-embeddings": self._embed})

    def _embed(self, incoming: Incoming) -> Json:
        import numpy as np

        windows = [
            np.frombuffer(pcm(incoming.files[f"window-{index}"]), "<i2").astype(np.float32) / 32768
            for index in range(len(incoming.files))
        ]
        return {"embeddings": [self._embedding(window) for window in windows]}


def pcm(data: bytes) -> bytes:
    """The samples of a 16 kHz mono s16 WAV file."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
                raise Refused("file", "invalid_audio", "16 kHz mono 16-bit WAV is wanted")
            return bytes(sound.readframes(sound.getnframes()))
    except (EOFError, wave.Error):
        raise Refused("file", "invalid_audio", "the file is no WAV") from None
