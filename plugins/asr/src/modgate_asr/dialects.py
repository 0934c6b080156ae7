"""How engines spell speech recognition.

The home wire is a form with a 16 kHz mono WAV file.  The reply is verbose_json (or json, or
diarized_json, as `response_format` says).  When the call is a stream, it is events instead:
`transcript.text.delta`, `transcript.text.segment`, and `transcript.text.done` at the end.
Source: wire.md 4.4; the engines' own servers at the versions that the golden transcripts name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import orjson

from modgate.kit.chat_wire import given_up
from modgate.kit.families.llamacpp_absence import absence
from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Dialect,
    Event,
    Fields,
    GatewayError,
    JsonObject,
    Outgoing,
    Part,
    Refused,
    Served,
    Unsupported,
    UpstreamFailed,
    engine_message,
    refusal_of,
)
from modgate_asr.transcript import UNSPACED_LETTERS

_UNSPACED = re.compile(f"[{UNSPACED_LETTERS}]")
DELTA, LAST = "transcript.text.delta", "transcript.text.done"
EVENTS = frozenset({DELTA, "transcript.text.segment", LAST})
GRAINS = "timestamp_granularities[]"
_OUR_WORDS = re.compile("response_format|verbose_json|timestamp_granularit")
OURS = frozenset({"response_format", "timestamp_granularities", GRAINS, "stream"})
# What engines know besides the home wire, and OpenAI does not.
OPENAI = frozenset(
    {"model", "file", "response_format", "language", "prompt", "temperature", GRAINS, "stream"}
    | {"include[]", "languages[]", "keywords[]", "chunking_strategy"}
    | {"known_speaker_names[]", "known_speaker_references[]"}
)


class AsrHome(Dialect):
    """The home wire, and what all dialects have in common.

    `fields`: the form fields that the engine knows; None: all.  `form`: the one `response_format`
    that it has; None: all.  `streams`: whether it can stream.
    """

    modality = "asr"
    fields: ClassVar[frozenset[str] | None] = None
    form: ClassVar[str | None] = None
    streams: ClassVar[bool] = True

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._finished = False

    @property
    def streamed(self) -> bool:
        """Whether the engine is asked for a stream."""
        return self.streams and self.call.reply == "sse"

    def encode(self) -> Outgoing:
        """The form, with the engine's name of the model, and only fields that the engine knows."""
        body = self.call.body.put(model=self.served.name)
        if self.form is not None:
            body = body.put(response_format=self.form)
        if not self.streamed:
            body = body.drop("stream")
        if self.fields is not None:
            body = Body.form(part for part in body.parts if part.name in self.fields)
        return Outgoing(path=self.call.path, body=body, reply="sse" if self.streamed else "whole")

    def decode(self, event: Event) -> Iterable[Event]:
        """The reply as it is; of a stream, the events of the home wire.

        UpstreamFailed for an error that came with status 200.
        """
        if b'"error"' in event.data:
            _check_error(event)
        reply = event.fields()  # BadReply here: the call may still be tried elsewhere
        if not self.streamed:
            return (event,)
        kind = reply.get("type")
        self._finished = self._finished or kind == LAST
        return (event,) if isinstance(kind, str) and kind in EVENTS else ()

    def end(self, done: bool) -> Iterable[Event]:
        """UpstreamFailed when a stream ended before its last event; OpenAI sends no [DONE]."""
        if self.streamed and not self._finished:
            raise UpstreamFailed("the engine's stream ended early")
        return ()

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """An engine's error.

        One about the model, or about a field that only we set, is not the client's fault.
        """
        if status == 501:
            return Refused(None, "unsupported_value", "the engine does not support this request")
        message = self.served.as_asked(engine_message(body))
        ours = _blamed(body) in OURS or _OUR_WORDS.search(message) is not None
        if status in (400, 422) and ours:
            return UpstreamFailed("the engine does not take the form that its family should")
        return refusal_of(status, headers, message)


def _blamed(body: bytes) -> str:
    """The form field that an error names; '' when it names none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = value.get("error", value) if isinstance(value, dict) else {}
    param = error.get("param") if isinstance(error, dict) else None
    return param if isinstance(param, str) else ""


def _check_error(event: Event) -> None:
    """Raise UpstreamFailed when a reply with status 200, or an event of a stream, is an error."""
    value = event.json()
    if isinstance(value, dict) and (value.get("error") or value.get("object") == "error"):
        message = engine_message(event.data)
        raise UpstreamFailed("the engine reported an error" if message else "the engine failed")


class OpenAi(AsrHome):
    """OpenAI itself, and services that refuse fields which they do not know."""

    family = "openai"
    probe = "/v1/models"
    fields = OPENAI


class Chunks(AsrHome):
    """Engines whose streams are spelled like chat: chunks with a delta in their choice."""

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._said: list[str] = []
        self._usage: JsonObject | None = None

    def decode(self, event: Event) -> Iterable[Event]:
        """The text of a chunk as a delta; its usage is kept for the last event."""
        passed = super().decode(event)
        if self.streamed and given_up(event.data):
            raise UpstreamFailed("the engine gave up in the middle of its reply")
        return self._converted(event.fields()) if self.streamed else passed

    def _converted(self, chunk: Fields) -> Iterator[Event]:
        for choice in chunk.each("choices", empty=True) if "choices" in chunk else ():
            text = choice.inner("delta", Fields({})).text("content", "", empty=True) or ""
            self._finished = self._finished or isinstance(choice.get("finish_reason"), str)
            if text:
                self._said.append(text)
                yield _event({"type": DELTA, "delta": text})
        usage = chunk.inner("usage", None)
        if usage is not None:
            self._usage = _tokens(usage)

    def end(self, done: bool) -> Iterable[Event]:
        """The last event of the home wire.  UpstreamFailed when the stream was cut."""
        if not self.streamed:
            return ()
        if not (done or self._finished):
            raise UpstreamFailed("the engine's stream ended early")
        last: JsonObject = {"type": LAST, "text": "".join(self._said)}
        if self._usage is not None:
            last["usage"] = self._usage
        return (_event(last),)


def _event(value: JsonObject) -> Event:
    try:
        return Event(orjson.dumps(value))
    except TypeError:
        raise BadReply("the engine's reply is nested too deeply") from None


def _tokens(usage: Fields) -> JsonObject:
    """Usage as chat spells it, as transcription spells it."""
    into = usage.integer("prompt_tokens", 0, at_least=0)
    out = usage.integer("completion_tokens", 0, at_least=0)
    total = into + out
    return {"type": "tokens", "input_tokens": into, "output_tokens": out, "total_tokens": total}


class Vllm(Chunks):
    """vLLM: it gives no times of words, and tells the usage of a stream when it is asked to."""

    family = "vllm"
    fields = (OPENAI - {GRAINS, "chunking_strategy", "include[]", "languages[]", "keywords[]"}) | {
        "top_p", "seed", "hotwords", "to_language", "max_completion_tokens", "stream_include_usage",
    }  # fmt: skip  # rows as they are read

    def encode(self) -> Outgoing:
        """Ask a stream to tell its usage in its last chunk."""
        outgoing = super().encode()
        if not self.streamed:
            return outgoing
        body = outgoing.body.put(stream_include_usage="true")
        return Outgoing(path=outgoing.path, body=body, reply="sse")


class SgLang(Chunks):
    """SGLang: it does not translate, and gives no times of words."""

    family = "sglang"
    fields = frozenset(
        {"model", "file", "response_format", "language", "temperature", "stream", GRAINS}
    )

    def encode(self) -> Outgoing:
        """Ask for segments, which it gives only then.  Unsupported for a translation."""
        if self.call.path.endswith("/translations"):
            raise Unsupported("engines of family 'sglang' do not translate")
        outgoing = super().encode()
        body = outgoing.body.drop(GRAINS)
        if not self.streamed:
            segments = Part(name=GRAINS, content=b"segment")
            body = Body.form([*body.parts, segments])
        return Outgoing(path=outgoing.path, body=body, reply=outgoing.reply)


class Speaches(AsrHome):
    """Speaches: OpenAI's wire with times of words.  Older ones stream a json for each segment."""

    family = "speaches"
    fields = (OPENAI - {"include[]", "chunking_strategy", "languages[]", "keywords[]"}) | {
        "hotwords", "without_timestamps",
    }  # fmt: skip  # rows as they are read

    def __init__(self, call: Call, served: Served) -> None:
        super().__init__(call, served)
        self._said: list[str] = []

    def encode(self) -> Outgoing:
        """Ask for times of segments: without, a segment is all between two long pauses."""
        outgoing = super().encode()
        names = {part.name: part.content for part in outgoing.body.parts}
        whole = names.get("response_format") == b"verbose_json"
        if not whole or "without_timestamps" in names or self.call.path.endswith("/translations"):
            return outgoing
        body = outgoing.body.put(without_timestamps="false")
        return Outgoing(path=outgoing.path, body=body, reply=outgoing.reply)

    def decode(self, event: Event) -> Iterable[Event]:
        """An event without a type, as older ones send it, as a delta; its blanks were cut off."""
        passed = super().decode(event)
        if not self.streamed or (reply := event.fields()).get("type") is not None:
            return passed
        text = (reply.text("text", "", empty=True) or "").strip()
        if not text:
            return ()
        self._said.append(f" {text}" if self._said else text)
        return (_event({"type": DELTA, "delta": self._said[-1]}),)

    def end(self, done: bool) -> Iterable[Event]:
        """The last event of an older stream, which ends with its body."""
        if not self.streamed or self._finished or not self._said:
            return super().end(done)
        return (_event({"type": LAST, "text": "".join(self._said)}),)


class FasterWhisperServer(AsrHome):
    """faster-whisper-server: it does not stream, and its form has another name for the model.

    Two servers have that name; the other one, Speaches' ancestor, reads `model`.
    """

    family = "faster-whisper-server"
    fields = frozenset({"model", "file", "response_format", "language", "prompt", "temperature"})
    streams = False

    def encode(self) -> Outgoing:
        """The model in both fields that may name it."""
        outgoing = super().encode()
        body = outgoing.body.put(model_name=self.served.name)
        return Outgoing(path=outgoing.path, body=body)


class LlamaCpp(AsrHome):
    """llama.cpp's server with an audio model: it answers json without times."""

    family = "llamacpp"
    fields = frozenset({"model", "file", "response_format", "language", "prompt", "temperature"})
    form = "json"
    streams = False

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A model that is not there; else as any engine's."""
        return absence(status, engine_message(body)) or super().refusal(status, headers, body)


class WhisperCpp(AsrHome):
    """whisper.cpp's server: its path is `/inference`, and its words are inside segments."""

    family = "whispercpp"
    streams = False

    def encode(self) -> Outgoing:
        """Without a model, for it has one.  A language is always said: the default is English."""
        kept = {"file", "response_format", "language", "prompt", "temperature"}
        body = Body.form(part for part in self.call.body.parts if part.name in kept)
        if not any(part.name == "language" for part in body.parts):
            body = Body.form([*body.parts, Part(name="language", content=b"auto")])
        more = [Part(name="split_on_word", content=b"true")]
        if self.call.path.endswith("/translations"):
            more.append(Part(name="translate", content=b"true"))
        return Outgoing(path="/inference", body=Body.form([*body.parts, *more]))

    def decode(self, event: Event) -> Iterable[Event]:
        """The reply with its tokens joined to words, in the place where other engines have them.

        Its text has a line for each segment, which may end inside a sentence; line breaks go.
        """
        super().decode(event)
        reply = event.fields()
        plain = {**reply.values, "text": reply.text("text", empty=True).replace("\n", "")}
        if "segments" not in reply:
            return (_event(plain),)
        tokens = [
            token
            for row in reply.each("segments", empty=True)
            if "words" in row
            for token in row.each("words", empty=True)
        ]
        return (_event({**plain, "words": _joined(tokens)}),)


def _joined(tokens: Sequence[Fields]) -> list[JsonObject]:
    """Tokens joined to words.

    A word begins with a blank, or with a letter of a language that has no blanks.  When a server
    was told to leave times out, it says -1 for each, and there are no words.
    """
    words: list[JsonObject] = []
    for token in tokens:
        text = token.text("word", empty=True)
        start, end = token.number("start", -1.0), token.number("end", -1.0)
        if start < 0 or end < 0:
            return []
        said = words[-1]["word"] if words else ""
        if said and not text.startswith(" ") and not _apart(said, text):
            words[-1] |= {"word": said + text, "end": max(words[-1]["end"], end)}
        elif text.strip():
            words.append({"word": text.strip(), "start": start, "end": max(start, end)})
    return words


def _apart(said: str, text: str) -> bool:
    return bool(_UNSPACED.match(said[-1]) or _UNSPACED.match(text))


DIALECTS = (AsrHome, OpenAi, Vllm, SgLang, Speaches, FasterWhisperServer, LlamaCpp, WhisperCpp)
