"""The tts modality: its endpoint, its units, and how a text becomes calls."""

from __future__ import annotations

from collections.abc import Iterator

from modgate.plugin import (
    Body,
    Call,
    Endpoint,
    Fields,
    Json,
    Modality,
    Plan,
    Refused,
    Request,
    Target,
    Unit,
    Units,
    UnsupportedMedia,
)
from modgate_tts.config import Config, Facts
from modgate_tts.encode import CONTENT_TYPES
from modgate_tts.relay import Encoded, Spoken
from modgate_tts.samples import SAMPLES
from modgate_tts.split import pieces

PATH = "/v1/audio/speech"
LIGHT = frozenset({"pcm", "wav"})
SPEECH_MS = 120  # a generous guess of speech per character, at normal speed


class Tts(Modality[Config]):
    """Speech synthesis, metered in characters of text and milliseconds of speech."""

    name = "tts"
    units = (
        Unit("characters", "Unicode code points of text"),
        Unit("speech_ms", "speech that was relayed", shown="speech_seconds", scale=1000),
    )
    weights = {"characters": 1.0}
    phases = {
        "first_byte": Target(base_s=0.4),
        "total": Target(base_s=0.4, per_unit={"characters": 0.012}),
    }
    deadlines = {
        "first_byte": Target(base_s=60.0, per_unit={"characters": 0.1}),
        "total": Target(base_s=120.0, per_unit={"characters": 0.5}),
    }
    gateway_counts = frozenset({"characters"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES

    def endpoints(self) -> Iterator[Endpoint]:
        """OpenAI's speech endpoint."""
        yield Endpoint(
            path=PATH,
            shape=self.shape,
            kind="stream",
            summary="turn text into speech",
            operation="speech",
        )

    def shape(self, request: Request) -> Plan:
        """A piece a call, spoken side by side and relayed in order."""
        fields = request.fields()
        text = fields.text("input", at_most=self.config.max_characters)
        if not any(char.isalnum() for char in text):
            raise fields.fault("input", "invalid_value", "'input' has nothing to speak")
        name = fields.choice("response_format", CONTENT_TYPES, "mp3")
        speed = fields.number("speed", 1.0, at_least=0.25, at_most=4.0)
        events = fields.choice("stream_format", ("audio", "sse"), "audio") == "sse"
        fields.text("instructions", None, empty=True)
        facts = request.model.facts
        known = facts if isinstance(facts, Facts) else Facts()
        voice = self._voice(fields, known)
        most = min(self.config.piece, known.max_piece or self.config.piece)
        parts = pieces(text, min(self.config.first_piece, most), most)
        calls = [self._call(fields, part, voice, speed) for part in parts]
        kind = Spoken if name in LIGHT else Encoded
        try:
            relay = kind(
                [len(part) for part in parts],
                format_name=name,
                events=events,
                pause_ms=self.config.pause_ms,
            )
        except ImportError:
            text = f"'{name}' needs the extra modgate[codecs]; ask for wav, pcm or flac"
            raise UnsupportedMedia(text) from None
        return Plan(calls=calls, relay=relay, width=self.config.width)

    def _voice(self, fields: Fields, facts: Facts) -> str:
        given: Json = fields.get("voice")
        if isinstance(given, dict):
            wanted = fields.inner("voice").text("id", at_most=200)
        else:
            wanted = fields.text("voice", at_most=200)
        voice = facts.voice_map.get(wanted, wanted)
        if facts.voices and voice not in facts.voices:
            names = ", ".join(sorted({*facts.voices, *facts.voice_map}))
            raise Refused("voice", "invalid_value", f"unknown voice; there are: {names}")
        return voice

    def _call(self, fields: Fields, part: str, voice: str, speed: float) -> Call:
        body: dict[str, Json] = {"input": part, "voice": voice, "response_format": "pcm"}
        if speed != 1.0:
            body["speed"] = speed
        if "instructions" in fields:
            body["instructions"] = fields.get("instructions")
        size = Units(characters=len(part), speech_ms=round(len(part) * SPEECH_MS / speed))
        return Call(
            path=PATH,
            body=Body.of(**body),
            size=size,
            reply="chunked",
            requires=(("voice", voice),),
            affinity=voice.encode(),
        )
