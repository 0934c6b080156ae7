"""How engines spell speech.

The home wire is `POST /v1/audio/speech` with one piece of text.  The reply is mono PCM in chunks,
signed 16 bit little-endian, or a WAV file where the model's fact `engine_format` says so.  Decoded
events are PCM.  Their headers say the rate (`SAMPLE_RATE`, in hertz) when it is not 24 kHz, and how
many bytes the whole piece has (`DATA_BYTES`) when the engine said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import orjson

from modgate.kit.engine_error import error_in
from modgate.plugin import (
    BadReply,
    Body,
    Dialect,
    Event,
    GatewayError,
    Json,
    Outgoing,
    Refused,
    UpstreamFailed,
    engine_message,
    refusal_of,
)
from modgate_tts.wav import RATE, WavReader, checked_rate

SAMPLE_RATE = "x-modgate-sample-rate"
DATA_BYTES = "x-modgate-data-bytes"
CLIENTS = ("input", "voice", "speed", "instructions")  # members that are the client's own
EXTRAS = ("lang_code", "volume_multiplier", "normalization_options")

# Not as a key, for errors repeat requests.
_FORMAT = re.compile(rb"""response_format(?!\\?['"]\s*:)""")
_RIFF = b"RIFF"
_NOT_PCM = {b"ID3": "mp3", b"OggS": "ogg", b"fLaC": "flac"}
_FORMATS = ("mpeg", "mp3", "ogg", "opus", "flac", "aac", "webm", "mp4")


class SpeechHome(Dialect):
    """An engine that speaks OpenAI's route and gives PCM when it is asked for PCM.

    A WAV file in its place is understood.  Any other format would be heard as noise, so it is a bad
    reply.

    `typed`: whether the engine's `content-type` is true.
    """

    modality = "tts"
    typed = True

    _front: bytes | None = b""  # the first bytes, until there are enough to tell; then None
    _reader: WavReader | None = None
    _known: Mapping[str, str] = {}  # the headers of the events

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error, with the client's field if it names one.

        One about the format is the operator's fault, for the client did not choose it.
        """
        if status in (400, 422) and _FORMAT.search(body) and not self._says_format():
            return UpstreamFailed("the engine does not give the format that its model should")
        message = self.served.as_asked(engine_message(body))
        return _about(_blamed(body), status, headers, message)

    def _says_format(self) -> bool:
        """Whether the client's own text names the format: an error may repeat it."""
        return any(_FORMAT.search(value) for value in self.call.body.members().values())

    def decode(self, event: Event) -> Iterable[Event]:
        """PCM; the first bytes tell whether it comes in a WAV file."""
        data = event.data
        if self._front is not None:
            if not self._front:
                self._known = self._said(event.headers)
            data = self._front + data
            self._front = data if len(data) < len(_RIFF) else None
            if self._front is not None:
                return ()
            self._begin(data)
        return self._sound(data)

    def _said(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """What the reply's head says of raw PCM.  BadReply when it is something else.

        The rate is in the media type (`audio/pcm;rate=22050;channels=1`), or in `x-sample-rate`, as
        sglang-omni and many small servers write it; 0 says that they do not know.
        """
        kind, _, rest = headers.get("content-type", "").lower().partition(";")
        if not self.typed:
            return {}
        if kind.startswith(("text/", "application/json")) or kind.endswith(_FORMATS):
            raise BadReply(f"the engine answered with {kind} where PCM was asked for")
        known = {}
        said = _parameters(rest)
        if _number(said.get("channels") or headers.get("x-channels", "")) not in (None, 1):
            raise BadReply("the engine's speech is not mono")
        if rate := _number(said.get("rate") or headers.get("x-sample-rate", "")):
            known[SAMPLE_RATE] = str(checked_rate(rate))
        if (length := headers.get("content-length", "")).isdecimal():
            known[DATA_BYTES] = length
        return known

    def _begin(self, data: bytes) -> None:
        if data.startswith(_RIFF):
            self._reader = WavReader()
            return
        for magic, name in _NOT_PCM.items():
            if data.startswith(magic):
                raise BadReply(f"the engine answered with {name} where PCM was asked for")

    def _sound(self, data: bytes) -> Iterable[Event]:
        if (reader := self._reader) is not None:
            opened = bool(reader.rate)
            data = reader.take(data)
            if reader.rate and not opened:
                size = {} if reader.data_bytes is None else {DATA_BYTES: str(reader.data_bytes)}
                self._known = {SAMPLE_RATE: str(reader.rate), **size}
        return (Event(data, headers=self._known),) if data else ()

    def end(self, done: bool) -> Iterable[Event]:
        """UpstreamFailed when a WAV file promised more than came."""
        del done
        if self._reader is not None and not self._reader.whole:
            raise UpstreamFailed("the engine's speech was cut short")
        return (Event(self._front, headers=self._known),) if self._front else ()


class SpeechOpenAi(SpeechHome):
    """OpenAI itself, and services that refuse members which they do not know.

    Source: the OpenAI API reference, createSpeech; wire.md 5.
    """

    family = "openai"
    probe = "/v1/models"

    def encode(self) -> Outgoing:
        """Without members that it does not know; a voice of one's own goes by its id."""
        body = self.call.body.drop(*EXTRAS).put(model=self.served.name)
        voice = str(body.member("voice"))
        if voice.startswith("voice_"):
            body = body.put(voice={"id": voice})
        return Outgoing(path=self.call.path, body=body, reply="chunked")


class SpeechKokoro(SpeechHome):
    """Kokoro-FastAPI: blends of voices, and errors as a detail object.

    Source: remsky/Kokoro-FastAPI, api/src/routers/openai_compatible.py and structures/schemas.py;
    wire.md 5.
    """

    family = "kokoro"

    def encode(self) -> Outgoing:
        """Ask for a stream, its default; instructions are left out, for it knows none."""
        body = self.call.body.drop("instructions").put(model=self.served.name, stream=True)
        return Outgoing(path=self.call.path, body=body, reply="chunked")

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An unknown model is the fault of our configuration, an unknown voice the client's."""
        detail = _detail(body)
        if isinstance(detail, dict) and 400 <= status < 500:
            if detail.get("error") == "invalid_model":
                return UpstreamFailed("the engine does not know the model that it shall serve")
            message = engine_message(orjson.dumps({"message": detail.get("message")}))
            named = "voice" if message.lower().startswith("voice") else None
            return _about(named, status, headers, self.served.as_asked(message))
        return super().refusal(status, headers, body)


class SpeechSpeaches(SpeechHome):
    """Speaches: gives any rate that it is asked for, and downloads models only by hand.

    Source: speaches-ai/speaches, src/speaches/routers/speech.py; wire.md 5.
    """

    family = "speaches"

    def encode(self) -> Outgoing:
        """Ask for 24 kHz: its default is the rate of each model."""
        body = self.call.body.drop("instructions", *EXTRAS)
        body = body.put(model=self.served.name, sample_rate=RATE)
        return Outgoing(path=self.call.path, body=body, reply="chunked")

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """404 means that the model is not on its disk; others name a field of the client."""
        if status == 404:
            return UpstreamFailed("the engine has not got the model that it shall serve")
        message = engine_message(body)
        named = next(
            (name for name in ("speed", "voice") if message.lower().startswith(name)), None
        )
        return _about(named, status, headers, self.served.as_asked(message))


class SpeechPiper(SpeechHome):
    """Piper's http server: a whole WAV file at the voice's own rate, which it calls text/html.

    A voice is `NAME`, or `NAME#SPEAKER` of a voice with many.  It answers in its default voice for
    a name that it has not got, so list the voices in the model's facts.
    Source: piper-tts 1.8.0, piper/http_server.py.
    """

    family = "piper"
    probe = "/info"
    typed = False

    def encode(self) -> Outgoing:
        """It takes the length of phonemes in place of a speed, which is the inverse."""
        voice, _, speaker = str(self.call.body.member("voice")).partition("#")
        if "/" in voice or "\\" in voice:  # the server makes a file's path of it
            raise Refused("voice", "invalid_value", "a voice is a name without slashes")
        fields: dict[str, Json] = {"text": str(self.call.body.member("input")), "voice": voice}
        if speaker:
            fields["speaker"] = speaker
        speed = self.call.body.member("speed", 1)
        if speed != 1:
            fields["length_scale"] = round(1 / speed, 4)
        return Outgoing(path="/synthesize", body=Body.of(**fields), reply="chunked")

    def _begin(self, data: bytes) -> None:
        if not data.startswith(_RIFF):
            raise BadReply("the engine's reply is no WAV file")
        super()._begin(data)

    def end(self, done: bool) -> Iterable[Event]:
        """BadReply also for a few bytes that are no WAV file."""
        if self._front:
            raise BadReply("the engine's reply is no WAV file")
        return super().end(done)


def _parameters(rest: str) -> Mapping[str, str]:
    """The parameters of a media type, by name."""
    pairs = (each.partition("=") for each in rest.split(";"))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _number(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else None


def _detail(body: bytes) -> Json:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value.get("detail") if isinstance(value, dict) else None


def _blamed(body: bytes) -> str | None:
    """The client's member that an error in OpenAI's shape names; None when it names none."""
    named = error_in(body).get("param")
    return named if named in CLIENTS else None


def _about(
    named: str | None, status: int, headers: Mapping[str, str], message: str
) -> GatewayError:
    """The error, blaming the client's member `named` when the engine does."""
    if named is not None and status in (400, 422):
        return Refused(named, "invalid_value", message)
    return refusal_of(status, headers, message)
