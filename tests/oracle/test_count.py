"""Framing, media and counting: the same however the bytes are split, and what others say."""

from __future__ import annotations

import ast
import json
import random
from base64 import b64encode
from pathlib import Path

import pytest

from oracle import requests as ask
from oracle.count import count_for
from oracle.faults import event
from oracle.framing import (
    FramingError,
    MessageReader,
    Part,
    chunk_bytes,
    head_bytes,
    read_multipart,
    write_multipart,
)
from oracle.media import image_size, page_of, page_size, pdf, png, read_wav, stretch_of, wav
from oracle.requests import ClientRequest
from oracle.words import token

HERE = Path(__file__).parent


# --- on its own


def test_the_oracles_import_nothing_of_modgate() -> None:
    imported = {
        name.split(".")[0]
        for file in HERE.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in _imports(node)
    }

    assert not {name for name in imported if name.startswith("modgate")}


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


# --- framing and media


@pytest.mark.parametrize("framing", ["length", "chunked", "rest"])
def test_a_reply_reads_the_same_however_it_is_split(framing: str) -> None:
    head = [("Content-Length", "11")] if framing == "length" else []
    head = [("Transfer-Encoding", "chunked")] if framing == "chunked" else head
    body = b"hello world"
    if framing == "chunked":
        body = chunk_bytes(b"hello ") + chunk_bytes(b"world") + chunk_bytes(b"")
    raw = head_bytes("HTTP/1.1 200 OK", head) + body
    rng = random.Random(3)
    for _ in range(200):
        reader, seen, place = MessageReader(reply=True), b"", 0
        while place < len(raw):
            step = rng.randint(1, 30)
            seen += reader.feed(raw[place : place + step])
            place += step
        reader.eof()

        assert (seen, reader.complete) == (b"hello world", True)


def test_bytes_behind_a_message_belong_to_the_next() -> None:
    reader = MessageReader(reply=False)
    reader.feed(head_bytes("POST / HTTP/1.1", [("Content-Length", "2")]) + b"abGET /")

    assert (reader.complete, reader.surplus) == (True, b"GET /")


def test_what_is_no_http_is_said_so() -> None:
    with pytest.raises(FramingError):
        MessageReader(reply=True).feed(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")


def test_a_form_survives_being_written_and_read() -> None:
    parts = [
        Part(name="model", data=b"m", content_type="text/plain"),
        Part(name="file", data=b"\r\n--\x00\r\n", filename="a.wav", content_type="audio/wav"),
        Part(name="empty", data=b"", content_type="text/plain"),
    ]
    body, content_type = write_multipart(parts)

    assert read_multipart(body, content_type) == parts


def test_every_tag_and_page_has_a_size_of_its_own() -> None:
    sizes = {page_size(tag, page) for tag in range(2048) for page in range(8)}
    width, height = page_size(777, 5)

    assert len(sizes) == 2048 * 8
    assert page_of(width + 1, height - 1) == (777, 5)


def test_images_and_documents_are_what_other_readers_say() -> None:
    pillow = pytest.importorskip("PIL.Image")  # what is compared with
    pdfium = pytest.importorskip("pypdfium2")  # likewise
    from io import BytesIO

    image = png(68, 92, seed=4)
    sizes = [page_size(31, page) for page in range(3)]
    document = pdfium.PdfDocument(pdf(sizes))
    rendered = [document[page].render(scale=200 / 72).to_pil().size for page in range(3)]
    jpeg = BytesIO()
    opened = pillow.open(BytesIO(image))
    opened.convert("RGB").save(jpeg, "JPEG")

    assert opened.size == image_size(image) == image_size(jpeg.getvalue()) == (68, 92)
    assert [page_of(*size) for size in rendered] == [(31, 0), (31, 1), (31, 2)]


def test_audio_is_what_another_reader_says_and_knows_its_stretches() -> None:
    soundfile = pytest.importorskip("soundfile")  # of modgate[audio]
    from io import BytesIO

    data = wav(45_000, seed=8)
    samples, rate = soundfile.read(BytesIO(data), dtype="int16")
    sound = read_wav(data)

    assert sound is not None
    assert (len(samples), rate) == (sound.samples, sound.rate) == (45 * 16_000, 16_000)
    assert not samples[20 * 16_000 - 6_000 : 20 * 16_000 + 6_000].any()
    for number, second in ((0, 3), (1, 20), (2, 41)):
        assert stretch_of(samples[second * 16_000 :].tobytes(), rate) == number


# --- counting


def _counted(request: ClientRequest, body: bytes) -> tuple[dict[str, int], int]:
    count = count_for(request)
    for place in range(0, len(body), 7):
        count.feed(body[place : place + 7])
    count.end()

    assert (count.finished, count.error, count.notes) == (True, None, [])
    return count.units, count.events


def _chunk(text: str, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


def test_tokens_are_counted_however_they_are_packed() -> None:
    body = b": ping\n\n" + _chunk(token(4)) + _chunk(token(5) + token(6)[:1]) + _chunk(token(6)[1:])
    body += _chunk("", "stop") + b"data: [DONE]\n\n"

    assert _counted(ask.chat(1, stream=True), body) == ({"llm.output_tokens": 3}, 3)


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (_chunk(token(4)) + _chunk(token(6)), "token 6 came after 4"),
        (_chunk(token(4)) + _chunk(token(4)), "token 4 came after 4"),
        (_chunk("Hi!"), "'Hi!' is no token of the engine"),
        (b"data: {\n\n", "an event is no JSON"),
        (b"data: [DONE]\n\n" + _chunk(token(1)), "an event came after [DONE]"),
        (
            event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}),
            "usage came unasked",
        ),
    ],
)
def test_what_is_wrong_with_a_stream_is_noted(body: bytes, note: str) -> None:
    count = count_for(ask.chat(1, stream=True))
    count.feed(body)

    assert note in count.notes


def test_a_transcript_in_events_counts_the_audio_it_covers() -> None:
    request = ask.transcription(1, duration_ms=1_300, stream=True)
    deltas = [event({"type": "transcript.text.delta", "delta": text}) for text in ("w000", " w001")]
    deltas.append(event({"type": "transcript.text.delta", "delta": " w002"}))
    done = event({"type": "transcript.text.done", "text": "w000 w001 w002"}) + b"data: [DONE]\n\n"
    partly = count_for(request)
    partly.feed(b"".join(deltas[:2]))

    assert partly.units == {"asr.audio_ms": 500}
    assert _counted(request, b"".join(deltas) + done) == ({"asr.audio_ms": 1_300}, 3)


@pytest.mark.parametrize(
    "body", [b'{"text": "w000 w001 w000"}', b"1\n00:00:00,000 --> 00:00:01,300\nw000 w001 w002\n\n"]
)
def test_a_transcript_in_one_piece_counts_whole(body: bytes) -> None:
    request = ask.transcription(1, duration_ms=1_300)

    assert _counted(request, body) == ({"asr.audio_ms": 1_300}, 1)


def test_a_wav_counts_by_the_samples_behind_its_header() -> None:
    request = ask.speech(1, response_format="wav", text="abc")
    unknown = (
        wav(0, rate=24_000)[:4] + b"\xff" * 4 + wav(0, rate=24_000)[8:40] + b"\xdb\xff\xff\xff"
    )

    units, _ = _counted(request, unknown + bytes(48 * 180))
    assert units == {"tts.characters": 3, "tts.speech_ms": 180}


def test_speech_in_events_counts_by_its_samples() -> None:
    delta = event({"type": "speech.audio.delta", "audio": b64encode(bytes(4_800)).decode()})
    body = delta * 2 + event({"type": "speech.audio.done", "usage": {}})

    assert _counted(ask.speech(1, sse=True, text="ab"), body) == (
        {"tts.characters": 2, "tts.speech_ms": 200},
        2,
    )


def test_pages_count_where_they_hold_text() -> None:
    pages = [{"index": 0, "markdown": "a"}, {"index": 1, "markdown": ""}]
    body = json.dumps({"pages": pages, "usage_info": {"pages_processed": 1}}).encode()

    assert _counted(ask.ocr(1, pages=2), body) == ({"ocr.pages": 1}, 1)


@pytest.mark.parametrize("key", ["results", "data"])
def test_rankings_count_by_document(key: str) -> None:
    rows = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    body = json.dumps({key: rows}).encode()

    assert _counted(ask.rerank(1, documents=2), body) == ({"rerank.documents": 2}, 1)
