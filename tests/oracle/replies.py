"""What a good engine says to a request, in the home wires, made from the request alone."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from oracle import asked as at
from oracle.faults import Piece, Refusal, Script, event
from oracle.media import image_size, speech
from oracle.record import Record
from oracle.words import ASR_RATE, PCM_BYTES_MS, SEGMENT_MS, WORD_MS, members, token, whole

_SSE = "text/event-stream; charset=utf-8"
_JSON = "application/json"
CREATED = 1_730_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer, ready to be written piece by piece; `streamed` goes out in chunks."""

    pieces: tuple[Piece, ...]
    status: int = 200
    content_type: str = _JSON
    streamed: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def sse(self) -> bool:
        """It is a stream of events."""
        return self.content_type.startswith("text/event-stream")


def reply_to(record: Record, script: Script) -> Reply:
    """The answer that the script wants, before anything goes wrong with it."""
    if script.refusal is not None:
        refused = _error(script.refusal)
        return replace(refused, headers=(*refused.headers, *script.headers))
    maker = _MAKERS.get((record.method, record.path))
    if maker is None:
        return _error(Refusal(status=404, message=f"no route {record.method} {record.path}"))
    if record.asked.broken:
        return _error(Refusal(status=400, message=f"cannot parse the body: {record.asked.broken}"))
    reply = maker(record, script)
    return replace(
        reply,
        pieces=reply.pieces if script.pieces is None else script.pieces,
        content_type=script.content_type or reply.content_type,
        headers=(*reply.headers, *script.headers),
    )


def whole_reply(value: object, **counts: int) -> Reply:
    """A JSON body in one piece."""
    named = {name.replace("__", "."): count for name, count in counts.items()}
    return Reply(pieces=(Piece(data=json.dumps(value).encode(), counts=named),))


def _error(refusal: Refusal) -> Reply:
    return Reply(
        pieces=(Piece(data=refusal.body, content=False),),
        status=refusal.status,
        headers=refusal.headers,
    )


def _bad(message: str) -> Reply:
    return _error(Refusal(status=400, message=message))


# --- text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """One llm answer: what is said, and how it is framed."""

    record: Record
    script: Script
    chat: bool
    choices: int
    tokens: int
    cut: bool

    @property
    def shell(self) -> dict[str, object]:
        kind = "chat.completion" if self.chat else "text_completion"
        streamed = self.chat and self.record.asked.json.get("stream")
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.record.index:024x}",
            "object": f"{kind}.chunk" if streamed else kind,
            "created": CREATED,
            "model": self.record.asked.json.get("model"),
        }

    @property
    def finish(self) -> str:
        return "length" if self.cut else "stop"

    @property
    def usage(self) -> dict[str, int]:
        asked = self.record.sent.get(f"{self.record.modality}.input_tokens", 0)
        said = self.tokens * self.choices
        return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}

    def words(self, choice: int) -> list[str]:
        """Consecutive tokens, from a place that depends on the prompt and the choice."""
        first = zlib.crc32(json.dumps(self.record.tags).encode()) + 97 * choice
        return [token(first + number) for number in range(self.tokens)]

    def counts(self, tokens: int) -> dict[str, int]:
        return {f"{self.record.modality}.output_tokens": tokens}

    def entry(self, choice: int, text: str, finish: str | None) -> dict[str, object]:
        key: dict[str, object] = {"text": text}
        if self.chat:
            key = {"delta": {"content": text} if text else {}}
        return {"index": choice, **key, "logprobs": None, "finish_reason": finish}


def _text_of(record: Record, script: Script) -> _Text:
    body, chat = record.asked.json, record.path == at.CHAT
    most = whole(body.get("max_completion_tokens") or body.get("max_tokens")) or script.tokens
    prompts = 1 if chat else max(1, len(at.prompts(record.asked)))
    return _Text(
        record=record,
        script=script,
        chat=chat,
        choices=prompts * (whole(body.get("n")) or 1),
        tokens=min(most, script.tokens),
        cut=most < script.tokens,
    )


def _complete(record: Record, script: Script) -> Reply:
    if not (at.messages(record.asked) or at.prompts(record.asked)):
        return _bad("nothing to answer")
    text = _text_of(record, script)
    if record.asked.json.get("stream"):
        return Reply(pieces=tuple(_events(text)), content_type=_SSE, streamed=True)
    choices = []
    for choice in range(text.choices):
        said = "".join(text.words(choice))
        entry = {**text.entry(choice, "", text.finish), "text": said}
        if text.chat:
            message = {"role": "assistant", "content": said, "refusal": None}
            entry = {"index": choice, "message": message, "finish_reason": text.finish}
        choices.append(entry)
    body = {**text.shell, "choices": choices} | ({"usage": text.usage} if script.usage else {})
    counts = text.counts(text.tokens * text.choices)
    return Reply(pieces=(Piece(data=json.dumps(body).encode(), counts=counts),))


def _events(text: _Text) -> Iterator[Piece]:
    options = members(text.record.asked.json.get("stream_options"))
    wanted = bool(options.get("include_usage"))
    shell = text.shell | ({"usage": None} if wanted else {})
    if text.chat:
        role = {"role": "assistant", "content": ""}
        first = [text.entry(choice, "", None) | {"delta": role} for choice in range(text.choices)]
        yield Piece(data=event({**shell, "choices": first}), content=False)
    spoken = [text.words(choice) for choice in range(text.choices)]
    for number in range(text.tokens):
        for choice, words in enumerate(spoken):
            entry = text.entry(choice, words[number], None)
            yield Piece(data=event({**shell, "choices": [entry]}), counts=text.counts(1))
    if text.script.finish:
        last = [text.entry(choice, "", text.finish) for choice in range(text.choices)]
        yield Piece(data=event({**shell, "choices": last}), content=False)
    if wanted and text.script.usage:
        yield Piece(data=event({**shell, "choices": [], "usage": text.usage}), content=False)
    if text.script.done:
        yield Piece(data=b"data: [DONE]\n\n", content=False)


def _tokenize(record: Record, script: Script) -> Reply:
    count = script.input_tokens
    return whole_reply({"count": at.chat_tokens(record.asked) if count is None else count})


# --- sound


def _transcribe(record: Record, script: Script) -> Reply:
    sound = at.sound_of(record.asked)
    if sound is None:
        return _bad("audio must be a 16 kHz mono s16 WAV")
    duration_ms = sound.samples * 1000 / ASR_RATE
    words = [f"w{number:03d}" for number in range(math.ceil(duration_ms / WORD_MS))]
    many = SEGMENT_MS // WORD_MS
    segments = [
        {
            "id": number,
            "seek": 0,
            "start": number * SEGMENT_MS / 1000,
            "end": min((number + 1) * SEGMENT_MS, duration_ms) / 1000,
            "text": " " + " ".join(words[number * many : (number + 1) * many]),
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": -0.1,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.0,
        }
        for number in range(math.ceil(len(words) / many))
    ]
    body = {
        "task": "translate" if record.path == at.TRANSLATE else "transcribe",
        "language": record.asked.field("language") or "en",
        "duration": duration_ms / 1000,
        "text": " ".join(words),
        "segments": segments,
    }
    return whole_reply(body, asr__audio_samples=sound.samples)


def _speak(record: Record, script: Script) -> Reply:
    text = record.asked.json.get("input")
    if not isinstance(text, str) or not text:
        return _bad("nothing to say")
    if record.asked.json.get("response_format", "pcm") != "pcm":
        return _bad("this engine speaks pcm only")
    sound = speech(len(text) * script.character_ms, seed=zlib.crc32(text.encode()))
    step = script.piece_ms * PCM_BYTES_MS
    pieces = tuple(
        Piece(data=part, counts={"tts.speech_ms": len(part) // PCM_BYTES_MS}, divisible=True)
        for part in (sound[place : place + step] for place in range(0, len(sound), step))
    )
    return Reply(pieces=pieces, content_type="audio/pcm", streamed=True)


# --- the rest


def _read_page(record: Record, script: Script) -> Reply:
    size = image_size(at.image_of(record.asked))
    if size is None:
        return _bad("no PNG or JPEG image in the request")
    width, height = size
    step = height / (script.lines + 1)
    lines = [
        {
            "text": f"line {number + 1} of {width} by {height}",
            "box": [2, round(number * step) + 1, width - 2, round((number + 0.8) * step) + 1],
            "score": 0.99,
        }
        for number in range(script.lines)
    ]
    return whole_reply({"width": width, "height": height, "lines": lines}, ocr__pages=1)


def vector(text: str, dimensions: int) -> list[float]:
    """The embedding of a text: 256ths, so that it is the same as float32."""
    bits = hashlib.sha256(text.encode()).digest()
    return [(bits[number % len(bits)] - 128) / 256 for number in range(dimensions)]


def _embed(record: Record, script: Script) -> Reply:
    texts = at.strings(record.asked.json.get("input"))
    if not texts:
        return _bad("nothing to embed")
    size = whole(record.asked.json.get("dimensions")) or script.dimensions
    body: dict[str, object] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": vector(text, size)}
            for number, text in enumerate(texts)
        ],
        "model": record.asked.json.get("model"),
    }
    tokens = record.sent["embedding.input_tokens"]
    if script.usage:
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return whole_reply(body, embedding__inputs=len(texts), embedding__input_tokens=tokens)


def relevance(query: str, document: str) -> float:
    """How well a document fits a query: a figure of both, between 0 and 1."""
    return zlib.crc32(f"{query}\n{document}".encode()) % 10_000 / 10_000


def _rank(record: Record, script: Script) -> Reply:
    body = record.asked.json
    query, documents = body.get("query"), at.strings(body.get("documents"))
    if not isinstance(query, str) or not documents:
        return _bad("nothing to rank")
    results = [
        {"index": number, "relevance_score": relevance(query, document)}
        for number, document in enumerate(documents)
    ]
    tokens = record.sent["rerank.input_tokens"]
    meta: dict[str, object] = {"api_version": {"version": "2"}}
    if script.usage:
        meta["billed_units"] = {"search_units": math.ceil(len(documents) / 100)}
        meta["tokens"] = {"input_tokens": tokens}
    answer = {"id": f"rerank-{record.index}", "results": results, "meta": meta}
    if script.usage:
        answer["usage"] = {"total_tokens": tokens}  # vLLM's word for it
    return whole_reply(answer, rerank__documents=len(documents))


def _score(record: Record, script: Script) -> Reply:
    """Pairs of several searches, scored one by one, as vLLM does."""
    body = record.asked.json
    documents = at.strings(body.get("documents"))
    scores = map(relevance, at.strings(body.get("queries")), documents)
    data = [{"index": index, "score": score} for index, score in enumerate(scores)]
    answer: dict[str, object] = {"data": data}
    if script.usage:
        answer["usage"] = {"total_tokens": record.sent["rerank.input_tokens"]}
    return whole_reply(answer, rerank__documents=len(documents))


def _health(record: Record, script: Script) -> Reply:
    return whole_reply({"status": "ok"})


def _models(record: Record, script: Script) -> Reply:
    model = {"id": "scripted", "object": "model", "created": CREATED, "owned_by": "oracle"}
    return whole_reply({"object": "list", "data": [model]})


_MAKERS: dict[tuple[str, str], Callable[[Record, Script], Reply]] = {
    ("POST", at.CHAT): _complete,
    ("POST", at.COMPLETIONS): _complete,
    ("POST", at.TOKENIZE): _tokenize,
    ("POST", at.TRANSCRIBE): _transcribe,
    ("POST", at.TRANSLATE): _transcribe,
    ("POST", at.SPEECH): _speak,
    ("POST", at.OCR): _read_page,
    ("POST", at.EMBED): _embed,
    ("POST", at.RERANK): _rank,
    ("POST", at.SCORE): _score,
    ("GET", "/health"): _health,
    ("GET", "/v1/models"): _models,
}
