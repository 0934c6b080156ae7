"""The local engine: hibari, English, one voice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modgate.kit.local.missing import missing
from modgate.kit.local.onnx import session
from modgate.kit.serve import Chunked, Incoming, serve
from modgate.plugin import Json, LocalEngine, Refused, Report
from modgate_tts.wav import RATE, SAMPLE_BYTES

VOICE = "heart"
OTHERS = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
)  # fmt: skip  # rows as they are read
SPEEDS = (0.5, 2.0)
OPENING_BYTES = RATE * SAMPLE_BYTES // 10  # 100 ms


class Hibari(LocalEngine):
    """Answers the home wire with 24 kHz PCM, in a chunk for each sentence."""

    modality = "tts"
    model = "hibari"
    aliases = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
    facts = {
        "voices": [VOICE],
        "voice_map": dict.fromkeys(OTHERS, VOICE),
        "max_piece": 250,
        "speeds": SPEEDS,
    }
    note = "hibari: English, one voice"

    def missing(self) -> Sequence[str]:
        """The package that is not installed; the model is inside it."""
        return missing("tts", ["hibari"], [])

    def load(self, report: Report) -> None:
        """Load the voice, and speak once: the pronunciation tables load at first use."""
        report("loading hibari")
        import hibari
        from hibari.voices import voice_path

        self._speaker: Json = hibari.Hibari(voice=VOICE, threads=self.threads)
        model = voice_path(VOICE, download_missing=False)
        self._speaker.sess = session(str(model), self.threads)
        self._speaker("Ready.")

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/v1/audio/speech": self._speak})

    def _speak(self, incoming: Incoming) -> Chunked:
        fields = incoming.fields
        speed = float(fields.get("speed") or 1.0)
        text = str(fields["input"])
        pieces = self._pcm(text, speed)
        first = next(pieces, None)
        if first is None:
            raise Refused("input", "invalid_value", "this voice cannot speak any of the input")
        size_bytes = None
        if len(self._speaker.split_sentences(text)) == 1:  # so there is hardly more to wait for
            pieces = iter(rest := list(pieces))
            size_bytes = len(first) + sum(map(len, rest))
        return Chunked(
            content_type="audio/pcm", pieces=_after(first, pieces), size_bytes=size_bytes
        )

    def _pcm(self, text: str, speed: float) -> Iterator[bytes]:
        import numpy as np

        for audio in self._speaker.stream(text, speed=speed, seed=0):
            yield (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks, of which the first moment goes alone, so that it is soon on its way."""
    yield first[:OPENING_BYTES]
    if first[OPENING_BYTES:]:
        yield first[OPENING_BYTES:]
    yield from rest
