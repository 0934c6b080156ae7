"""Counting a reply that comes in one piece: native units, and what is wrong with it."""

from __future__ import annotations

import json
import math
import re
import struct
from base64 import b64decode
from collections.abc import Callable

from oracle.count_conversations import prompt_tokens, said, used
from oracle.replies import vector
from oracle.requests import ClientRequest, Reader
from oracle.words import TOKEN_BYTES, WORD_MS, items, members, whole

_WORD = re.compile(r"\bw\d{3}\b")

Counted = tuple[dict[str, int], list[str]]


def _text(request: ClientRequest, body: bytes) -> Counted:
    value = members(json.loads(body))
    said = ""
    for choice in map(members, items(value["choices"])):
        text = members(choice.get("message")).get("content") or choice.get("text")
        said += text if isinstance(text, str) else ""
    units = {f"{request.modality}.output_tokens": len(said) // TOKEN_BYTES, **request.sent}
    usage, notes = members(value.get("usage")), []
    if usage:
        units[f"{request.modality}.input_tokens"] = whole(usage.get("prompt_tokens"))
        if whole(usage.get("completion_tokens")) != len(said) // TOKEN_BYTES:
            notes.append("usage does not count the tokens that came")
    return units, notes


def _conversation(request: ClientRequest, body: bytes) -> Counted:
    value = members(json.loads(body))
    tokens, usage, notes = len(said(value)) // TOKEN_BYTES, used(value), []
    if whole(usage.get("output_tokens")) != tokens:
        notes.append("usage does not count the tokens that came")
    units = {f"{request.modality}.output_tokens": tokens, **request.sent}
    units[f"{request.modality}.input_tokens"] = prompt_tokens(usage)
    return units, notes


def transcript_units(request: ClientRequest, text: str) -> Counted:
    """All the audio if there is a word for every half second; else what the words stand for."""
    words, sent_ms = len(_WORD.findall(text)), request.sent["asr.audio_ms"]
    if words >= math.ceil(sent_ms / WORD_MS):
        return {"asr.audio_ms": sent_ms}, []
    return {"asr.audio_ms": words * WORD_MS}, [f"{words} words are too few for {sent_ms} ms"]


def _transcript(request: ClientRequest, body: bytes) -> Counted:
    """Of JSON, plain text, SRT and VTT alike: the words are in there as they are."""
    return transcript_units(request, body.decode())


def _verbose(request: ClientRequest, body: bytes) -> Counted:
    value = members(json.loads(body))
    _, notes = transcript_units(request, str(value["text"]))
    segments = [str(members(segment).get("text")) for segment in items(value["segments"])]
    if _WORD.findall(" ".join(segments)) != _WORD.findall(str(value["text"])):
        notes.append("the segments' words are not the text's")
    duration = value["duration"]
    seconds = float(duration) if isinstance(duration, int | float) else 0.0
    return {"asr.audio_ms": round(seconds * 1000)}, notes


def _pages(request: ClientRequest, body: bytes) -> Counted:
    value = members(json.loads(body))
    pages = [members(page) for page in items(value["pages"])]
    notes = []
    if [page.get("index") for page in pages] != list(range(len(pages))):
        notes.append("pages are not in order")
    read = sum(1 for page in pages if page.get("markdown"))
    if whole(members(value.get("usage_info")).get("pages_processed")) != read:
        notes.append("usage does not count the pages that came")
    return {"ocr.pages": read}, notes


def _vectors(request: ClientRequest, body: bytes) -> Counted:
    value = members(json.loads(body))
    entries = [members(entry) for entry in items(value["data"])]
    notes = []
    if [entry.get("index") for entry in entries] != list(range(len(request.texts))):
        notes.append("embeddings are not one for each input, in order")
    for entry, text in zip(entries, request.texts, strict=False):
        found = _vector(entry["embedding"])
        if not found or found != vector(text, len(found)):
            notes.append(f"the embedding of input {entry.get('index')} is another's")
    units = {"embedding.inputs": len(entries)}
    usage = members(value.get("usage"))
    if usage:
        tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
        units["embedding.input_tokens"] = whole(tokens)
    return units, notes


def _vector(value: object) -> list[object]:
    if isinstance(value, str):
        raw = b64decode(value, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return items(value)


def _ranking(request: ClientRequest, body: bytes) -> Counted:
    value = members(json.loads(body))
    results = [members(result) for result in items(value.get("results", value.get("data")))]
    notes = []
    indices = [whole(result["index"]) for result in results]
    if sorted(indices) != list(range(len(request.texts))):
        notes.append("results are not one for each document")
    scores = [float(str(result["relevance_score"])) for result in results]
    if scores != sorted(scores, reverse=True):
        notes.append("results are not in the order of their scores")
    return {"rerank.documents": len(results)}, notes


WHOLE: dict[Reader, Callable[[ClientRequest, bytes], Counted]] = {
    "chat": _text,
    "completion": _text,
    "message": _conversation,
    "response": _conversation,
    "spoken": _conversation,
    "transcript": _transcript,
    "verbose_transcript": _verbose,
    "ocr": _pages,
    "embedding": _vectors,
    "rerank": _ranking,
}
