"""The asr modality: endpoints, units, and how a recording becomes calls."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from modgate.kit.facts import facts_of
from modgate.plugin import (
    Body,
    Call,
    Drawn,
    Endpoint,
    File,
    Json,
    Modality,
    Need,
    Part,
    Plan,
    Refused,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    UnsupportedMedia,
    Work,
)
from modgate_asr.ask import Asked, read
from modgate_asr.config import Config, Facts
from modgate_asr.decode import windows
from modgate_asr.heard import Piece
from modgate_asr.relay import Transcribed
from modgate_asr.samples import SAMPLES
from modgate_asr.sound import probe, probe_references

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


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
    stand_in = StandIn()

    def endpoints(self) -> Iterator[Endpoint]:
        """Transcriptions into the language that is spoken, and translations into English."""
        for path, shape in ((TRANSCRIPTIONS, self.transcribe), (TRANSLATIONS, self.translate)):
            yield Endpoint(
                path=path,
                shape=shape,
                surfaces=("openai", "mistral") if path == TRANSCRIPTIONS else ("openai",),
                body="form",
                at_most=self.config.file_bytes,
                kind="stream",
                summary="turn speech into text",
                operation="transcription" if path == TRANSCRIPTIONS else "translation",
            )

    def transcribe(self, request: Request) -> Generator[Need, Json, Plan]:
        """Plan a transcription."""
        return (yield from self._plan(request, read(request, "transcribe"), TRANSCRIPTIONS))

    def translate(self, request: Request) -> Generator[Need, Json, Plan]:
        """Plan a translation, which is never streamed.  Refused if the model does not translate."""
        if not facts_of(request, Facts).translates:
            reason = f"the model `{request.asked}` does not translate"
            raise Refused("model", "unsupported_endpoint", reason)
        return (yield from self._plan(request, read(request, "translate"), TRANSLATIONS))

    def _plan(self, request: Request, ask: Asked, path: str) -> Generator[Need, Json, Plan]:
        file, facts = _file(request), facts_of(request, Facts)
        found = yield from _probed(file, self.config.max_audio_s)
        if ask.references and ask.wanted.speakers:
            yield Work(probe_references, list(ask.references), field="known_speaker_references")
        window_s = min(self.config.window_s, facts.window_s or self.config.window_s)
        if ask.wanted.speakers:
            window_s = _whole_window_s(found["milliseconds"], facts.window_s or window_s)
        relay = Transcribed(ask.wanted)

        def to_call(index: int, drawn: Json) -> Call | None:
            del index
            places = (drawn[name] for name in ("start", "fresh", "end", "next"))
            start, fresh, end, behind = places
            silent = "file" not in drawn
            piece = Piece(start=start, fresh=fresh, end=end, next=behind, silent=silent)
            relay.drew(piece)
            return None if silent else _call(path, ask, facts, piece, drawn["file"])

        rule = {
            "longest_s": window_s,
            "least_s": self.config.least_window_s,
            "overlap_s": self.config.overlap_s,
            "silence_ms": ask.silence_ms or self.config.silence_ms,
        }
        return Plan(
            calls=Drawn(windows, (file, rule, self.config.max_audio_s), to_call, field="file"),
            relay=relay,
            reserve=Units(audio_ms=found["milliseconds"]),
            width=self.config.width,
        )


def _file(request: Request) -> File:
    try:
        return request.file("file")
    except Refused as error:
        if error.code == "invalid_value":
            raise Refused("file", "invalid_audio", "the audio file is empty") from None
        raise


def _probed(file: File, longest_s: float) -> Generator[Need, Json, Json]:
    """How long the audio is.  UnsupportedMedia when only the package to read it is missing."""
    try:
        return (yield Work(probe, file, longest_s, field="file"))
    except Refused as error:
        if error.code == "unsupported_media_type":
            raise UnsupportedMedia(error.message) from None
        raise


def _whole_window_s(milliseconds: int, longest_s: float) -> float:
    """A window that holds all of the audio, because speakers are told apart within one piece only.

    Refused when the audio is longer than the engine takes at once.
    """
    if milliseconds > longest_s * 1000:
        reason = f"speakers are told apart in audio of at most {longest_s:g} seconds"
        raise Refused("file", "audio_too_long", reason)
    return longest_s + 1


def _call(path: str, ask: Asked, facts: Facts, piece: Piece, file: File) -> Call:
    """The call for one piece, in the home wire.

    The format does not depend on the client's, because every format is made of one transcript: it
    is verbose_json, or json for a model that gives no times, or diarized_json for speakers.  When
    words at an edge are heard twice, their times are asked for, to join the pieces by them.
    """
    wanted = ask.wanted
    streamed = wanted.stream and facts.streams and piece.whole and not wanted.timed
    form = "json" if facts.timestamps == "none" or streamed else "verbose_json"
    texts = [("model", ""), ("response_format", "diarized_json" if wanted.speakers else form)]
    texts += ask.parts
    timed = form == "verbose_json" and facts.timestamps == "word" and not wanted.speakers
    if timed and (wanted.words or not piece.whole):
        texts += [("timestamp_granularities[]", grain) for grain in ("word", "segment")]
    if wanted.logprobs:
        texts.append(("include[]", "logprobs"))
    if wanted.speakers:
        texts.append(("chunking_strategy", "auto"))
    if streamed:
        texts.append(("stream", "true"))
    parts = [Part(name=name, content=text.encode()) for name, text in texts]
    parts.append(
        Part(name="file", content=file.slice(), filename="audio.wav", content_type="audio/wav")
    )
    return Call(
        path=path,
        body=Body.form(parts),
        size=Units(audio_ms=piece.audio_ms),
        reply="sse" if streamed else "whole",
    )
