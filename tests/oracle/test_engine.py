"""The scripted engine does what its script says, and knows what it did."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from oracle import requests as ask
from oracle.client import send
from oracle.engine import ScriptedEngine, always
from oracle.faults import Script
from oracle.framing import Part, chunk_bytes, head_bytes, write_multipart
from oracle.media import page_size, png, wav
from oracle.record import Record
from oracle.requests import ClientRequest


def form_of(modality: str, tag: int) -> ClientRequest:
    """A request in the home wire, where a client's is another."""
    match modality:
        case "asr":
            return replace(
                ask.transcription(tag, response_format="verbose_json"), reader="verbose_transcript"
            )
        case "ocr":
            parts = [
                Part(name="model", data=b"m"),
                Part(name="image", data=png(*page_size(tag, 3)), filename="page.png"),
            ]
            body, content_type = write_multipart(parts)
            return replace(ask.ocr(tag), path="/ocr", body=body, content_type=content_type)
        case "rerank":
            return ask.rerank(tag)
        case _:
            return ask.embeddings(tag)


async def body_of(engine: ScriptedEngine, request: ClientRequest) -> dict[str, object]:
    client = await send(engine.url, request)
    value = json.loads(client.body)
    assert isinstance(value, dict)
    return value


# --- good answers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("builder", [ask.chat, ask.completion, ask.vision])
async def test_client_and_engine_count_the_same_tokens(
    builder: Callable[..., ClientRequest], stream: bool, engine: ScriptedEngine
) -> None:
    client = await send(engine.url, builder(7, stream=stream, usage=True))
    [record] = engine.of(7)

    modality = client.modality
    assert (client.ended, client.notes) == ("ok", ())
    assert client.units[f"{modality}.output_tokens"] == 8
    assert record.wrote == {f"{modality}.output_tokens": 8}
    assert client.units[f"{modality}.input_tokens"] == record.sent[f"{modality}.input_tokens"]


async def test_a_stream_has_no_usage_unless_it_was_asked_for(engine: ScriptedEngine) -> None:
    client = await send(engine.url, ask.chat(1, stream=True))

    assert b'"usage"' not in client.body
    assert client.body.endswith(b"data: [DONE]\n\n")


async def test_the_clients_maximum_cuts_the_answer(engine: ScriptedEngine) -> None:
    client = await send(engine.url, ask.chat(1, max_tokens=3))

    assert client.units["llm.output_tokens"] == 3
    assert b'"finish_reason": "length"' in client.body


async def test_the_side_call_counts_a_prompt_and_is_nobodys_work(engine: ScriptedEngine) -> None:
    chat = ask.chat(5, text="abc")
    body = await body_of(engine, replace(chat, path="/tokenize"))
    [record] = engine.of(5)

    assert body == {"count": 3 + 4 + len("q0005q abc")}
    assert (record.modality, record.sent) == (None, {})


async def test_a_transcript_has_a_word_for_each_half_second(engine: ScriptedEngine) -> None:
    request = ask.transcription(3, duration_ms=4_700, response_format="verbose_json")
    client = await send(engine.url, request)
    [record] = engine.of(3)

    assert (client.ended, client.notes) == ("ok", ())
    assert client.units == {"asr.audio_ms": 4_700}
    assert record.sent == record.wrote == {"asr.audio_samples": 4_700 * 16}
    assert len(json.loads(client.body)["segments"]) == 3


async def test_audio_that_is_not_in_the_home_wires_form_is_refused(engine: ScriptedEngine) -> None:
    body, content_type = write_multipart(
        [Part(name="file", data=wav(500, rate=44_100), filename="a.wav")]
    )
    request = replace(ask.transcription(1), body=body, content_type=content_type)

    assert (await send(engine.url, request)).status == 400


async def test_speech_lasts_as_long_as_its_characters_and_is_continuous() -> None:
    async with always(Script(character_ms=20, piece_ms=100)) as engine:
        client = await send(engine.url, ask.speech(9))
        [record] = engine.of(9)

    characters = record.sent["tts.characters"]
    assert client.units == {"tts.characters": characters, "tts.speech_ms": 20 * characters}
    assert record.wrote == {"tts.speech_ms": 20 * characters}
    assert (client.breaks, record.order) == (0, 0)
    assert record.largest == {"tts.speech_ms": 100}


async def test_a_page_tells_its_tag_and_number_by_its_size(engine: ScriptedEngine) -> None:
    body = await body_of(engine, form_of("ocr", 1234))
    [record] = engine.of(1234)

    lines = body["lines"]
    assert (body["width"], body["height"]) == page_size(1234, 3)
    assert isinstance(lines, list)
    assert len(lines) == 3
    assert (record.order, record.sent, record.wrote) == (3, {"ocr.pages": 1}, {"ocr.pages": 1})


async def test_a_page_may_come_as_a_raw_body_or_in_json(engine: ScriptedEngine) -> None:
    image = png(*page_size(8))
    raw = replace(form_of("ocr", 8), body=image, content_type="image/png")
    written = json.dumps({"image": ask.data_uri(image, "image/png")}).encode()
    statuses = [
        (await send(engine.url, raw)).status,
        (
            await send(engine.url, replace(raw, body=written, content_type="application/json"))
        ).status,
    ]

    assert statuses == [200, 200]
    assert [record.sent for record in engine.of(8)] == [{"ocr.pages": 1}] * 2


@pytest.mark.parametrize("modality", ["embedding", "rerank"])
async def test_items_are_counted_one_by_one(modality: str, engine: ScriptedEngine) -> None:
    request = form_of(modality, 2)
    client = await send(engine.url, request)
    [record] = engine.of(2)

    for unit, count in request.sent.items():
        assert record.wrote[unit] == record.sent[unit] == count
    if modality == "embedding":
        assert (client.ended, client.notes) == ("ok", ())
        assert client.units["embedding.input_tokens"] == record.sent["embedding.input_tokens"]


async def test_a_call_that_carries_two_requests_knows_the_share_of_each(
    engine: ScriptedEngine,
) -> None:
    body = {"model": "m", "input": ["q0001q a", "q0002q bb", "q0002q c"]}
    await send(engine.url, replace(ask.embeddings(1), body=json.dumps(body).encode()))
    [record] = engine.records

    assert record.tags == (1, 2)
    assert record.shares[1] == {"embedding.inputs": 1, "embedding.input_tokens": 8}
    assert record.shares[2] == {"embedding.inputs": 2, "embedding.input_tokens": 17}


# --- transport


async def test_one_connection_serves_many_requests_in_both_framings(engine: ScriptedEngine) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    body = json.dumps({"model": "m", "input": ["q0001q " + "x" * 200_000]}).encode()
    statuses = []
    for chunked in (False, True, False):
        framing = (
            ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
        )
        head = [("Host", "e"), ("Content-Type", "application/json"), framing]
        writer.write(head_bytes("POST /v1/embeddings HTTP/1.1", head))
        pieces = [body[place : place + 7_001] for place in range(0, len(body), 7_001)]
        for piece in pieces if chunked else [body]:
            writer.write(chunk_bytes(piece) if chunked else piece)
        if chunked:
            writer.write(chunk_bytes(b""))
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        statuses.append(answer.split(b" ")[1])
    writer.close()

    assert statuses == [b"200"] * 3
    assert engine.connections_made == 1
    assert [record.body_bytes for record in engine.records] == [len(body)] * 3
    assert all(record.gone_at is None for record in engine.records)


async def test_many_connections_are_served_at_once() -> None:
    async with always(Script(first_byte_after_ms=100)) as engine:
        began = time.monotonic()
        clients = await asyncio.gather(*(send(engine.url, ask.chat(tag)) for tag in range(50)))

        assert {client.ended for client in clients} == {"ok"}
        assert time.monotonic() - began < 2


async def test_an_unknown_path_and_a_broken_body_are_refused(engine: ScriptedEngine) -> None:
    nowhere = await send(engine.url, replace(ask.chat(1), path="/v1/nothing"))
    broken = await send(engine.url, replace(ask.chat(1), body=b'{"model":'))

    assert (nowhere.status, broken.status) == (404, 400)
    assert all(record.wrote == {} for record in engine.records)


async def test_old_records_are_forgotten() -> None:
    async with ScriptedEngine(most_records=3) as engine:
        for tag in range(5):
            await send(engine.url, ask.chat(tag))

        assert [record.tag for record in engine.records] == [2, 3, 4]
        assert all(not record.asked.raw for record in engine.records)


async def test_what_a_script_raises_comes_out_at_close() -> None:
    def script_for(record: Record) -> Script:
        raise LookupError("no script")

    engine = ScriptedEngine(script_for)
    await engine.start()
    client = await send(engine.url, ask.chat(1))

    with pytest.raises(LookupError, match="no script"):
        await engine.close()
    assert client.ended == "error"
