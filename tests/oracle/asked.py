"""What an upstream request asks for, in native units: what the engine was sent, and whose it is."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from oracle.media import Sound, image_size, page_of, read_wav, stretch_of
from oracle.record import Asked, Record
from oracle.words import (
    ASR_RATE,
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    PROMPT_TOKENS,
    Modality,
    add,
    items,
    members,
    part_in,
    tags_in,
)

CHAT, COMPLETIONS, TOKENIZE = "/v1/chat/completions", "/v1/completions", "/tokenize"
TRANSCRIBE, TRANSLATE = "/v1/audio/transcriptions", "/v1/audio/translations"
SPEECH, OCR, EMBED, RERANK = "/v1/audio/speech", "/ocr", "/v1/embeddings", "/v2/rerank"
SCORE = "/score"

_DATA_URI = re.compile(r"data:[\w/+.-]*;base64,")


def messages(asked: Asked) -> list[dict[str, object]]:
    """The messages of a chat."""
    return [members(message) for message in items(asked.json.get("messages"))]


def texts_of(message: dict[str, object]) -> Iterator[str]:
    """The texts of one message, of whatever form its content is."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in items(content):
        text = members(part).get("text")
        if isinstance(text, str):
            yield text


def images_of(message: dict[str, object]) -> int:
    """How many images a message brings."""
    parts = (members(part) for part in items(message.get("content")))
    return sum(1 for part in parts if part.get("type") == "image_url")


def strings(value: object) -> list[str]:
    """One string or a list of them; documents may be objects with a `text`."""
    if isinstance(value, str):
        return [value]
    found = (item if isinstance(item, str) else members(item).get("text") for item in items(value))
    return [text for text in found if isinstance(text, str)]


def prompts(asked: Asked) -> list[str]:
    """The prompts of a text completion."""
    return strings(asked.json.get("prompt"))


def text_tokens(text: str) -> int:
    """The engine's count of a text: one token a byte."""
    return len(text.encode())


def chat_tokens(asked: Asked) -> int:
    """The engine's count of a chat or of prompts, images and all."""
    count = PROMPT_TOKENS
    for message in messages(asked):
        count += MESSAGE_TOKENS + IMAGE_TOKENS * images_of(message)
        count += sum(map(text_tokens, texts_of(message)))
    return count + sum(map(text_tokens, prompts(asked)))


def sound_of(asked: Asked) -> Sound | None:
    """The audio that was sent, if it is in the home wire's form: 16 kHz mono s16."""
    sound = read_wav(asked.file() or b"")
    if sound is None or (sound.rate, sound.channels, sound.bits) != (ASR_RATE, 1, 16):
        return None
    return sound


def image_of(asked: Asked) -> bytes:
    """The page that was sent: a part `image`, a raw body, or base64 in JSON."""
    sent = asked.file("image", "image_file", "file") or asked.raw
    text = asked.json.get("image") or asked.field("image_data")
    if sent or not isinstance(text, str):
        return sent
    try:
        return base64.b64decode(_DATA_URI.sub("", text), validate=True)
    except binascii.Error:
        return b""


def understand(record: Record) -> None:
    """Fill in the record's modality, tags and what it was sent."""
    reader = _READERS.get(record.path)
    if reader is not None and record.whole and not record.asked.broken:
        reader(record)


def claim(record: Record) -> None:
    """Let the script's figure stand for the engine's own count of input tokens."""
    claimed, unit = record.script.input_tokens, f"{record.modality}.input_tokens"
    if claimed is not None and unit in record.sent:
        record.sent[unit] = claimed


def _chat(record: Record) -> None:
    spoken = messages(record.asked)
    images = sum(map(images_of, spoken))
    modality: Modality = "vlm" if images else "llm"
    record.modality = modality
    record.tags = tags_in(text for message in spoken for text in texts_of(message))
    record.sent = {f"{modality}.input_tokens": chat_tokens(record.asked)}
    if images:
        record.sent["vlm.images"] = images


def _completions(record: Record) -> None:
    record.modality = "llm"
    record.tags = tags_in(prompts(record.asked))
    record.sent = {"llm.input_tokens": chat_tokens(record.asked)}


def _tokenize(record: Record) -> None:
    """A side call: it is nobody's work, so it is counted as none."""
    texts = [text for message in messages(record.asked) for text in texts_of(message)]
    record.tags = tags_in([*texts, *prompts(record.asked)])


def _audio(record: Record) -> None:
    sound = sound_of(record.asked)
    record.modality = "asr"
    record.tags = tags_in([record.asked.field("prompt") or ""])
    record.sent = {"asr.audio_samples": sound.samples if sound else 0}
    if sound is not None:
        pcm = (record.asked.file() or b"")[sound.starts_at :]
        record.order = stretch_of(pcm, sound.rate)


def _speech(record: Record) -> None:
    text = "".join(strings(record.asked.json.get("input")))
    record.modality = "tts"
    record.tags = tags_in([text])
    record.order = part_in(text)
    record.sent = {"tts.characters": len(text)}


def _ocr(record: Record) -> None:
    size = image_size(image_of(record.asked))
    page = page_of(*size) if size else None
    record.modality = "ocr"
    if page is not None:
        record.tags, record.order = (page[0],), page[1]
    record.sent = {"ocr.pages": 1 if size else 0}


def _embed(record: Record) -> None:
    texts = strings(record.asked.json.get("input"))
    record.modality = "embedding"
    record.tags = tags_in(texts)
    for text in texts:
        one = {"embedding.inputs": 1, "embedding.input_tokens": text_tokens(text)}
        record.sent = add(record.sent, one)
        for tag in tags_in([text]):
            record.shares[tag] = add(record.shares.get(tag, {}), one)


def _rerank(record: Record) -> None:
    query = strings(record.asked.json.get("query"))
    documents = strings(record.asked.json.get("documents"))
    record.modality = "rerank"
    pairs = strings(record.asked.json.get("queries"))
    for asked, document in zip(pairs, documents, strict=False):  # searches that travel together
        for tag in tags_in([asked]):
            tokens = text_tokens(asked) + text_tokens(document)
            one = {"rerank.documents": 1, "rerank.input_tokens": tokens}
            record.shares[tag] = add(record.shares.get(tag, {}), one)
    query = [*query, *pairs]
    record.tags = tags_in(query)
    tokens = sum(map(text_tokens, (*query, *documents)))
    record.sent = {"rerank.documents": len(documents), "rerank.input_tokens": tokens}


_READERS: dict[str, Callable[[Record], None]] = {
    CHAT: _chat,
    COMPLETIONS: _completions,
    TOKENIZE: _tokenize,
    TRANSCRIBE: _audio,
    TRANSLATE: _audio,
    SPEECH: _speech,
    OCR: _ocr,
    EMBED: _embed,
    RERANK: _rerank,
    SCORE: _rerank,
}
