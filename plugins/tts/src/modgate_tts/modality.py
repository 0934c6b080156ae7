"""The tts modality: its endpoint, its units, and how a text becomes calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from modgate.kit.facts import facts_of
from modgate.plugin import (
    Body,
    Call,
    Endpoint,
    Fields,
    Json,
    Modality,
    Plan,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    UnsupportedMedia,
)
from modgate_tts import mistral
from modgate_tts.config import FASTEST, SLOWEST, Config, Facts
from modgate_tts.encode import CONTENT_TYPES, installed
from modgate_tts.relay import Encoded, Spoken
from modgate_tts.samples import SAMPLES
from modgate_tts.split import pieces
from modgate_tts.voices import voice_of
from modgate_tts.wav import RATE

PATH = "/v1/audio/speech"
LIGHT = frozenset({"pcm", "wav"})  # formats that need no encoder
SPEECH_MS = 120  # for a character, at normal speed: a generous guess
AHEAD = 3  # pieces spoken before the client has read the first.  Source: algorithms.md 6.2


class Tts(Modality[Config]):
    """Speech synthesis, metered in characters of text and milliseconds of speech."""

    name = "tts"
    units = (
        Unit("characters", "Unicode code points of text"),
        Unit(
            "speech_ms",
            "speech that was relayed",
            shown="speech_seconds",
            scale=1000,
            learned=True,
        ),
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
    stand_in = StandIn(said=("voices",), equal=("voice_map", "sample_rate"))

    def endpoints(self) -> Iterator[Endpoint]:
        """OpenAI's speech endpoint, which is Mistral's as well."""
        yield Endpoint(
            path=PATH,
            surfaces=("openai", "mistral"),
            shape=self.shape,
            kind="stream",
            summary="turn text into speech",
            operation="speech",
        )

    def shape(self, request: Request) -> Plan:
        """One call for each piece of the text; they are spoken side by side, relayed in order."""
        fields, facts = request.fields(), facts_of(request, Facts)
        text = self._text(fields, facts)
        name = fields.choice("response_format", CONTENT_TYPES, "mp3")
        if of_mistral := mistral.is_asked(request, fields):
            events = fields.flag("stream", False)
        else:
            events = fields.choice("stream_format", ("audio", "sse"), "audio") == "sse"
        speed = _speed(fields, facts)
        voice = voice_of(fields, facts, "voice_id" if of_mistral else "voice")
        wishes = _wishes(fields)
        if speed != 1.0:
            wishes["speed"] = speed
        most = min(self.config.piece, facts.max_piece or self.config.piece)
        parts = pieces(text, min(self.config.first_piece, most), most)
        width = self.config.width
        return Plan(
            calls=[_call(part, voice, speed, wishes, facts.engine_format) for part in parts],
            relay=self._relay(name, parts, facts, events=events, of_mistral=of_mistral),
            width=width,
            ahead=max(AHEAD, width),
        )

    def _text(self, fields: Fields, facts: Facts) -> str:
        most = self.config.max_characters
        text = fields.text("input", at_most=min(most, facts.max_characters or most))
        if not any(char.isalnum() for char in text):
            raise fields.fault("input", "invalid_value", "'input' has nothing to speak")
        return text

    def _relay(
        self, name: str, parts: Sequence[str], facts: Facts, *, events: bool, of_mistral: bool
    ) -> Spoken:
        if not installed(name):
            told = f"'{name}' needs the extra modgate[codecs]; ask for wav, pcm or flac"
            raise UnsupportedMedia(told)
        light = name in LIGHT and facts.sample_rate == RATE
        return (Spoken if light else Encoded)(
            [len(part) for part in parts],
            format_name=name,
            events=events,
            of_mistral=of_mistral,
            pause_ms=self.config.pause_ms,
            rate=facts.sample_rate,
        )


def _speed(fields: Fields, facts: Facts) -> float:
    speed = fields.number("speed", 1.0, at_least=SLOWEST, at_most=FASTEST)
    low, high = facts.speeds
    if not low <= speed <= high:
        can = "at its own speed only" if low == high else f"at {low:g} to {high:g} times its speed"
        raise fields.fault("speed", "unsupported_value", f"this model speaks {can}")
    return speed


def _wishes(fields: Fields) -> dict[str, Json]:
    """Members that are passed on; a dialect drops those that its engines do not know.

    All others stay here: a member that changes what an engine sends (its rate, its format, a file
    in place of sound) would change the bill.
    """
    wishes: dict[str, Json] = {
        "instructions": fields.text("instructions", None, empty=True),
        "lang_code": fields.text("lang_code", None, at_most=35),
        "volume_multiplier": fields.number("volume_multiplier", None, at_least=0.0, at_most=10.0),
    }
    if (options := fields.inner("normalization_options", None)) is not None:
        wishes["normalization_options"] = options.values
    return {name: value for name, value in wishes.items() if value is not None}


def _call(part: str, voice: str, speed: float, wishes: Mapping[str, Json], form: str) -> Call:
    return Call(
        path=PATH,
        body=Body.of(input=part, voice=voice, response_format=form, **wishes),
        size=Units(characters=len(part), speech_ms=round(len(part) * SPEECH_MS / speed)),
        reply="chunked",
        requires=(("voice", voice),),
        affinity=voice.encode(),
    )
