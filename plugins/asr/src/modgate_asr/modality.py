"""The asr modality: endpoints, units, and how a recording becomes calls."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from modgate.plugin import (
    Body,
    Call,
    Drawn,
    Endpoint,
    Fields,
    File,
    Json,
    Modality,
    Need,
    Part,
    Plan,
    Refused,
    Request,
    Target,
    Unit,
    Units,
    Work,
)
from modgate_asr.config import Config, Facts
from modgate_asr.decode import probe, windows
from modgate_asr.languages import code_of
from modgate_asr.relay import Piece, Transcribed, Wanted
from modgate_asr.samples import SAMPLES

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
FORMATS = frozenset({"json", "text", "srt", "verbose_json", "vtt"})
GRANULARITIES = frozenset({"word", "segment"})
PROMPT_CHARACTERS = 4000
PASSED_ON = ("prompt", "temperature")
_STRATEGY = re.compile(r"auto|\{.*\}", re.DOTALL)


class Asr(Modality[Config]):
    """Speech recognition, metered in decoded audio."""

    name = "asr"
    units = (
        Unit(
            "audio_ms",
            "decoded audio; overlap between pieces is not counted, silence is",
            shown="audio_seconds",
            scale=1000,
        ),
    )
    weights = {"audio_ms": 0.001}
    phases = {
        "first_byte": Target(base_s=1.0),
        "total": Target(base_s=0.3, per_unit={"audio_ms": 0.0001}),
    }
    deadlines = {
        "first_byte": Target(base_s=120.0, per_unit={"audio_ms": 0.002}),
        "total": Target(base_s=120.0, per_unit={"audio_ms": 0.004}),
    }
    gateway_counts = frozenset({"audio_ms"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES

    def endpoints(self) -> Iterator[Endpoint]:
        """Transcriptions in the spoken language, translations into English."""
        for path, shape in ((TRANSCRIPTIONS, self.transcribe), (TRANSLATIONS, self.translate)):
            yield Endpoint(
                path=path,
                shape=shape,
                body="form",
                at_most=self.config.file_bytes,
                kind="stream",
                summary="turn speech into text",
                operation="transcription" if path == TRANSCRIPTIONS else "translation",
            )

    def transcribe(self, request: Request) -> Generator[Need, Json, Plan]:
        """Speech to text in the language that is spoken."""
        fields = request.fields()
        wanted = self._wanted(fields, "transcribe", fields.flag("stream", False))
        return (yield from self._plan(request, fields, wanted, TRANSCRIPTIONS))

    def translate(self, request: Request) -> Generator[Need, Json, Plan]:
        """Speech to English text; never streamed."""
        fields, facts = request.fields(), request.model.facts
        if isinstance(facts, Facts) and not facts.translates:
            reason = f"the model `{request.asked}` does not translate"
            raise Refused("model", "unsupported_endpoint", reason)
        wanted = self._wanted(fields, "translate", False)
        return (yield from self._plan(request, fields, wanted, TRANSLATIONS))

    def _wanted(self, fields: Fields, task: str, stream: bool) -> Wanted:
        form = fields.choice("response_format", FORMATS, "json")
        fields.number("temperature", None, at_least=0, at_most=1)
        fields.text("prompt", None, at_most=PROMPT_CHARACTERS, empty=True)
        strategy = fields.get("chunking_strategy")
        if isinstance(strategy, str) and _STRATEGY.fullmatch(strategy) is None:
            raise fields.wrong("chunking_strategy", "'auto' or an object")
        grains = fields.items("timestamp_granularities", [], empty=True)
        for grain in grains:
            if grain not in GRANULARITIES:
                reason = "'timestamp_granularities' takes: segment, word"
                raise fields.fault("timestamp_granularities", "invalid_value", reason)
        if grains and form != "verbose_json" and "response_format" in fields:
            reason = "'timestamp_granularities' needs response_format verbose_json"
            raise fields.fault("timestamp_granularities", "invalid_value", reason)
        segments = not grains or "segment" in grains
        return Wanted(
            format=form, task=task, stream=stream, words="word" in grains, segments=segments
        )

    def _plan(
        self, request: Request, fields: Fields, wanted: Wanted, path: str
    ) -> Generator[Need, Json, Plan]:
        file = request.file("file")
        language = self._language(fields, request)
        found = yield Work(probe, file, self.config.max_audio_s, field="file")
        facts = request.model.facts
        own = facts.window_s if isinstance(facts, Facts) else None
        window_s = min(self.config.window_s, own or self.config.window_s)
        relay = Transcribed(wanted)

        def to_call(index: int, piece: Json) -> Call:
            at = Piece(start=piece["start"], fresh=piece["fresh"], end=piece["end"])
            relay.pieces.append(at)
            parts = self._parts(fields, language, wanted, piece["file"])
            return Call(path=path, body=Body.form(parts), size=Units(audio_ms=at.audio_ms))

        args = (
            file,
            window_s,
            self.config.least_window_s,
            self.config.overlap_s,
            self.config.max_audio_s,
        )
        return Plan(
            calls=Drawn(windows, args, to_call),
            relay=relay,
            reserve=Units(audio_ms=found["milliseconds"]),
            width=self.config.width,
        )

    def _language(self, fields: Fields, request: Request) -> str | None:
        asked = fields.text("language", None, empty=True)
        if not asked:
            return None
        code = code_of(asked)
        if code is None:
            reason = "unknown language; send a code or an English name: en, english"
            raise fields.fault("language", "invalid_value", reason)
        facts = request.model.facts
        known = facts.languages if isinstance(facts, Facts) else ()
        if known and code not in known:
            reason = f"the model `{request.asked}` knows: {', '.join(known)}"
            raise fields.fault("language", "invalid_value", reason)
        return code

    def _parts(
        self, fields: Fields, language: str | None, wanted: Wanted, file: File
    ) -> list[Part]:
        """The home wire: verbose_json whatever the client wants, so one transcript serves all."""
        texts = {"response_format": "verbose_json", "model": ""}
        texts |= {name: str(fields.get(name)) for name in PASSED_ON if name in fields}
        if language is not None:
            texts["language"] = language
        if wanted.words:
            texts["timestamp_granularities[]"] = "word"
        parts = [Part(name=name, content=text.encode()) for name, text in texts.items()]
        audio = Part(
            name="file", content=file.slice(), filename="audio.wav", content_type="audio/wav"
        )
        return [*parts, audio]
