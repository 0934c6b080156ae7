"""The scripted engine breaks where its script says, sees its peer leave, and waits in lock-step."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.compare import gone_after_ms
from oracle.engine import ScriptedEngine, always, echoing
from oracle.faults import FAMILIES, Fault, FaultKind, Piece, Refusal, Script
from oracle.record import Record
from oracle.requests import ClientRequest

ID = "req_" + "0" * 31 + "1"


def named(request: ClientRequest, request_id: str = ID) -> ClientRequest:
    return request.with_headers(x_request_id=request_id)


# --- what goes wrong


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
async def test_a_refusal_is_spelled_as_its_family_does(status: int, family: str) -> None:
    refusal = Refusal(status=status, family=family, retry_after="2")  # type: ignore[arg-type]  # drawn
    async with always(Script(refusal=refusal)) as engine:
        client = await send(engine.url, ask.chat(1, stream=True))
        [record] = engine.records

    assert client.status == status
    assert client.headers["retry-after"] == "2"
    assert b"the scripted engine refuses" in client.body
    assert (record.refused, record.answered, record.wrote) == (True, False, {})


@pytest.mark.parametrize("kind", ["close", "reset", "kill"])
@pytest.mark.parametrize(
    ("after", "inside", "tokens"), [(None, False, 0), (0, False, 0), (3, False, 3), (3, True, 3)]
)
async def test_a_stream_breaks_where_the_script_says(
    kind: FaultKind, after: int | None, inside: bool, tokens: int
) -> None:
    async with always(Script(fault=Fault(kind=kind, after=after, inside=inside))) as engine:
        client = await send(engine.url, ask.chat(4, stream=True))
        [record] = engine.records

        assert engine.alive is (kind != "kill")
    assert client.ended == "error"
    assert client.units.get("llm.output_tokens", 0) == tokens
    assert record.wrote.get("llm.output_tokens", 0) == record.served == tokens
    assert (record.broken_by, record.completed, record.gone_at) == (kind, False, None)
    assert (client.status is None) is (after is None)


async def test_a_whole_body_may_break_in_the_middle() -> None:
    async with always(Script(fault=Fault(kind="close", inside=True))) as engine:
        client = await send(engine.url, ask.chat(4))
        [record] = engine.records

    assert (client.error, client.status) == ("broken_body", 200)
    assert 0 < client.body_bytes == record.bytes_written < int(client.headers["content-length"])
    assert record.wrote == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_body_may_look_whole(stream: bool) -> None:
    async with always(Script(fault=Fault(kind="end", after=0, inside=True))) as engine:
        client = await send(engine.url, ask.chat(4, stream=stream))

    assert (client.ended, client.error, client.status) == ("error", "unfinished", 200)


async def test_half_a_piece_of_audio_counts_half() -> None:
    fault = Fault(kind="reset", after=2, inside=True)
    async with always(Script(piece_ms=100, fault=fault)) as engine:
        client = await send(engine.url, ask.speech(4))
        [record] = engine.records

    assert client.units == {"tts.speech_ms": 250}
    assert record.wrote == {"tts.speech_ms": 250}


@pytest.mark.parametrize("family", ["vllm", "sglang", "fastapi", "llamacpp"])
async def test_an_error_may_come_mid_stream(family: str) -> None:
    fault = Fault(kind="error", after=2, family=family)  # type: ignore[arg-type]  # drawn
    async with always(Script(fault=fault)) as engine:
        client = await send(engine.url, ask.chat(4, stream=True))

    assert client.ended == "error"
    assert client.units == {"llm.output_tokens": 2}
    assert client.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_200_may_be_garbage(stream: bool) -> None:
    async with always(Script(fault=Fault(kind="garbage"))) as engine:
        client = await send(engine.url, ask.chat(4, stream=stream))
        [record] = engine.records

    assert (client.status, client.ended) == (200, "error")
    assert (record.wrote, record.served, record.completed) == ({}, 0, True)


async def test_an_event_may_be_8_mib() -> None:
    async with always(Script(fault=Fault(kind="huge", after=1))) as engine:
        client = await send(engine.url, ask.chat(4, stream=True))
        [record] = engine.records

    assert client.body_bytes > 8 << 20
    assert record.wrote == {"llm.output_tokens": 8}
    assert client.body.count(b"\n\n") == 2


async def test_usage_finish_and_done_may_be_missing() -> None:
    async with always(Script(usage=False, finish=False, done=False)) as engine:
        client = await send(engine.url, ask.chat(4, stream=True, usage=True))

    assert client.error == "unfinished"
    assert b'"usage":{' not in client.body
    assert b"[DONE]" not in client.body


async def test_a_script_may_give_every_byte() -> None:
    pieces = (Piece(data=b": hello\n\n", content=False), Piece(data=b"data: [DONE]\n\n"))
    async with always(Script(pieces=pieces)) as engine:
        client = await send(engine.url, ask.chat(4, stream=True))

    assert client.body == b": hello\n\ndata: [DONE]\n\n"


async def test_a_killed_engine_resets_everyone_and_comes_back_on_its_port() -> None:
    def script_for(record: Record) -> Script:
        kind: FaultKind = "kill" if record.tag == 1 else "silence"
        return Script(fault=Fault(kind=kind))

    async with ScriptedEngine(script_for) as engine:
        waiting = asyncio.create_task(send(engine.url, ask.chat(0)))
        await engine.reached(0, "headers")
        await send(engine.url, ask.chat(1))
        other = await waiting
        refused = await send(engine.url, ask.chat(2))
        engine.script_for = lambda record: Script()
        await engine.restart()
        again = await send(engine.url, ask.chat(3))

        assert other.ended == "error"
        assert engine.of(0)[0].broken_by == "kill"
        assert (refused.error, engine.of(2)) == ("ConnectionRefusedError", [])
        assert again.ended == "ok"


# --- the peer leaves


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    ("script", "leave"),
    [
        (Script(fault=Fault(kind="silence", after=None)), Leave(at="sent", after_ms=30)),
        (Script(fault=Fault(kind="silence", after=0)), Leave(at="head")),
        (Script(headers_after_ms=60_000), Leave(at="sent", after_ms=30)),
        (Script(first_byte_after_ms=60_000), Leave(at="head")),
        (Script(between_ms=40), Leave(at="body", events=3)),
        (Script(gated=True), Leave(at="body", events=1)),
        (Script(tokens=50_000), Leave(at="body", events=5)),
    ],
)
async def test_the_engine_knows_at_once_when_its_peer_leaves(
    script: Script, leave: Leave, how: str
) -> None:
    async with always(script) as engine:
        request = ask.chat(6, stream=True, max_tokens=script.tokens)
        client = await send(engine.url, request, leave=replace(leave, how=how))  # type: ignore[arg-type]  # drawn
        await engine.reached(6, "ended")
        [record] = engine.records

        assert client.ended == "cut"
        assert gone_after_ms(engine.records, client)[0] < 100
        assert not record.completed


async def test_a_broken_upload_is_a_record_of_nothing(engine: ScriptedEngine) -> None:
    await send(engine.url, named(ask.transcription(6)), leave=Leave(at="upload"))
    await engine.reached(ID, "ended")
    [record] = engine.records

    assert (record.whole, record.sent, record.tags) == (False, {}, ())
    assert record.gone_at is not None


async def test_leaving_an_idle_connection_is_nobodys_leaving(engine: ScriptedEngine) -> None:
    await send(engine.url, ask.chat(1))
    await engine.vacant()

    assert engine.records[0].gone_at is None


@pytest.mark.slow
async def test_a_client_that_reads_nothing_stops_the_engine() -> None:
    async with always(Script(character_ms=60_000)) as engine:
        leave = Leave(at="body", how="stall", stall_ms=200)
        client = await send(engine.url, ask.speech(1), leave=leave)
        await engine.reached(1, "ended")
        [record] = engine.records

    read = client.units["tts.speech_ms"] + client.held["tts.speech_ms"]
    assert client.held["tts.speech_ms"] > 0
    assert read <= record.wrote["tts.speech_ms"] < 60_000 * record.sent["tts.characters"]


# --- lock-step


async def test_in_lock_step_a_piece_waits_for_the_one_before() -> None:
    async with echoing(Script(gated=True, tokens=5)) as engine:
        seen: list[tuple[int, int]] = []

        def acknowledge(request_id: str, events: int) -> None:
            seen.append((events, engine.records[0].wrote["llm.output_tokens"]))
            engine.release(request_id)

        request = named(ask.chat(1, stream=True))
        client = await send(engine.url, request, on_event=acknowledge, within_s=5)

    assert client.ended == "ok"
    assert seen == [(count, count) for count in range(1, 6)]


async def test_without_a_release_nothing_more_comes() -> None:
    async with echoing(Script(gated=True)) as engine:
        client = await send(engine.url, named(ask.chat(1, stream=True)), within_s=0.2)

    assert (client.error, client.units) == ("client_timeout", {"llm.output_tokens": 1})


async def test_a_release_goes_to_the_first_unfinished_call_whatever_came_first() -> None:
    script = Script(gated=True, gated_calls=True, character_ms=10, piece_ms=10_000)
    async with always(script) as engine:
        later = named(ask.speech(1, text="q0001q part 1"))
        first = named(ask.speech(1, text="q0001q part 0"))
        second = asyncio.create_task(send(engine.url, later))
        await engine.reached(1, "headers")
        one = asyncio.create_task(send(engine.url, first))
        await engine.reached(1, "headers", calls=2)
        engine.release(ID)
        await one
        early = second.done()
        engine.release(1, 2)
        await second

        assert not early
        assert [record.order for record in engine.records] == [1, 0]


async def test_records_of_a_request_are_found_by_id_and_by_tag(engine: ScriptedEngine) -> None:
    clients: list[ClientRecord] = [
        await send(engine.url, named(ask.chat(tag), f"req_{tag}")) for tag in (1, 2, 1)
    ]

    assert {client.ended for client in clients} == {"ok"}
    assert [record.call for record in engine.of("req_1")] == [0, 1]
    assert engine.of(2) == engine.of("req_2")
