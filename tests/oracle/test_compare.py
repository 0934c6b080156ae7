"""The comparison catches what it must, and the mix plans and plays what it should."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from oracle import requests as ask
from oracle.client import ClientRecord, Leave, send
from oracle.compare import (
    ENDINGS,
    RULES,
    Case,
    LedgerRow,
    cases,
    compare,
    endings,
    gone_after_ms,
)
from oracle.engine import ScriptedEngine
from oracle.faults import OK, Fault, Refusal, Script
from oracle.mix import WINDOWS, draw, window
from oracle.play import play, play_mix
from oracle.record import Record
from oracle.requests import ClientRequest
from oracle.words import MODALITIES, Modality, tags_in

# --- the comparison

ID = "req_1"


async def _played(
    engine: ScriptedEngine,
    script: Script = OK,
    leave: Leave | None = None,
) -> tuple[list[Record], list[ClientRecord]]:
    echoed = replace(script, headers=(("x-request-id", ID),))
    engine.script_for = lambda record: echoed
    asked = ask.chat(1, stream=True).with_headers(x_request_id=ID)
    client = await send(engine.url, asked, leave=leave)
    await engine.reached(ID, "ended")
    return engine.records, [client]


def _row(exact: bool = True, attempts: int = 1, **units: int) -> LedgerRow:
    full = {f"llm.{name}": count for name, count in units.items()}
    return LedgerRow(
        request_id=ID,
        tenant="t",
        modality="llm",
        units=full,
        exact=exact,
        outcome="ok",
        attempts=[{}] * attempts,
    )


PROMPT = 3 + 4 + len("q0001q hello")


@pytest.mark.parametrize(
    ("row", "violations"),
    [
        (_row(input_tokens=PROMPT, output_tokens=8), 0),
        (_row(input_tokens=PROMPT, output_tokens=7), 1),
        (_row(input_tokens=PROMPT, output_tokens=9), 1),
        (_row(input_tokens=PROMPT - 1, output_tokens=8), 1),
        (_row(output_tokens=8), 1),
        (_row(exact=False, input_tokens=PROMPT, output_tokens=8), 1),
        (_row(attempts=0, input_tokens=PROMPT, output_tokens=8), 1),
        (LedgerRow(request_id="req_2", units={"llm.output_tokens": 1}), 3),
    ],
)
async def test_a_whole_reply_is_billed_to_the_token(
    engine: ScriptedEngine, row: LedgerRow, violations: int
) -> None:
    records, clients = await _played(engine)

    assert len(compare(records, clients, [row])) == violations


async def test_a_frame_that_is_lost_or_twice_is_found(engine: ScriptedEngine) -> None:
    records, clients = await _played(engine)
    row = _row(input_tokens=PROMPT, output_tokens=8)

    assert "no frame" in compare(records, clients, [])[0]
    assert "2 frames" in compare(records, clients, [row, row])[0]


CUT = Script(tokens=9, fault=Fault(kind="silence", after=5))


@pytest.mark.parametrize(
    ("row", "violation"),
    [
        (_row(exact=False, output_tokens=5), None),
        (_row(exact=False, input_tokens=PROMPT, output_tokens=5), None),
        (_row(exact=True, output_tokens=5), "exact"),
        (_row(exact=False, output_tokens=4), "the client read 5"),
        (_row(exact=False, output_tokens=6), "the engine 5"),
        (_row(exact=False, input_tokens=PROMPT + 1, output_tokens=5), "the engine"),
    ],
)
async def test_a_cut_reply_is_billed_between_client_and_engine(
    engine: ScriptedEngine, row: LedgerRow, violation: str | None
) -> None:
    records, clients = await _played(engine, CUT, leave=Leave(at="body", events=5))
    wrong = compare(records, clients, [row])

    assert clients[0].units == {"llm.output_tokens": 5}
    assert (violation is None and not wrong) or (violation and violation in wrong[0])


async def test_a_cut_bill_may_be_one_event_and_what_the_sockets_held_beyond_the_client(
    engine: ScriptedEngine,
) -> None:
    script = Script(tokens=9, fault=Fault(kind="silence", after=9))
    leave = Leave(at="body", events=2, how="stall", stall_ms=400)
    records, [client] = await _played(engine, replace(script, between_ms=2), leave=leave)
    read, held = client.units["llm.output_tokens"], client.held["llm.output_tokens"]
    bare = replace(client, held={})

    assert held == 9 - read > 1
    assert compare(records, [client], [_row(exact=False, output_tokens=9)]) == []
    assert compare(records, [bare], [_row(exact=False, output_tokens=read + 1)]) == []
    [wrong] = compare(records, [bare], [_row(exact=False, output_tokens=read + 2)])
    assert "more than one event" in wrong
    row = _row(exact=False, output_tokens=read + 2)
    assert compare(records, [bare], [row], slack={"llm.output_tokens": 1}) == []


async def test_what_was_refused_or_never_sent_costs_nothing(engine: ScriptedEngine) -> None:
    records, clients = await _played(engine, Script(refusal=Refusal(status=400)))

    assert compare(records, clients, [_row()]) == []
    assert "billed for nothing" in compare(records, clients, [_row(input_tokens=1)])[0]
    assert compare([], clients, []) == []
    assert "billed for nothing" in compare([], clients, [_row(output_tokens=1)])[0]


async def test_calls_given_up_since_another_was_refused_are_refused_with_it(
    engine: ScriptedEngine,
) -> None:
    [record], [client] = await _played(engine, Script(refusal=Refusal(status=400)))
    sibling = replace(record, index=1, status=None, completed=False)
    answered, other = replace(sibling, status=200), replace(client, status=504)

    def ending(calls: list[Record], of: ClientRecord) -> str:
        return cases(calls, [of], [_row()])[0].ending

    assert ending([record, sibling], client) == "refused"
    row = _row(attempts=2, input_tokens=1)
    assert "billed for nothing" in compare([record, sibling], [client], [row])[0]
    assert ending([record, answered], client) == ending([record, sibling], other) == "timeout"


async def test_a_broken_engine_is_billed_for_what_it_answered_only(engine: ScriptedEngine) -> None:
    records, clients = await _played(engine, Script(fault=Fault(kind="garbage")))
    row = _row(exact=False, input_tokens=PROMPT)
    client = [replace(client, notes=()) for client in clients]

    assert compare(records, client, [row]) == []
    assert "the engine 0" in compare(records, client, [row], bill="wrote")[0]


def test_a_frame_of_a_request_that_was_never_sent_may_have_its_bytes_but_no_native_unit() -> None:
    client = ClientRecord(tag=1, modality="ocr", ended="cut")
    units = {"ocr.requests": 1, "ocr.bytes_in": 9}
    row = LedgerRow(request_id="req_9", modality="ocr", units=units, exact=False)

    assert compare([], [client], [row]) == []
    assert compare([], [client], [{**row, "units": {**units, "ocr.pages": 1}}]) != []


async def test_the_calls_of_one_request_may_be_at_several_engines(engine: ScriptedEngine) -> None:
    records, clients = await _played(engine)
    async with ScriptedEngine() as other:
        elsewhere, _ = await _played(other)
        [case] = cases(records + elsewhere, clients, [])

    assert case.calls == (*records, *elsewhere)


async def test_a_client_without_an_id_is_found_by_its_tag(engine: ScriptedEngine) -> None:
    script = Script(fault=Fault(kind="silence", after=None))
    records, clients = await _played(engine, script, leave=Leave(at="sent", after_ms=20))
    [case] = cases(records, clients, [_row(exact=False)])

    assert clients[0].request_id is None
    assert (case.request_id, case.ending, len(case.rows)) == (ID, "gone", 1)
    assert gone_after_ms(records, clients[0])[0] < 100


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        (OK, "ok"),
        (Script(refusal=Refusal()), "refused"),
        (Script(fault=Fault(kind="reset", after=2)), "killed"),
        (Script(fault=Fault(kind="close", after=None)), "killed"),
    ],
)
async def test_an_ending_is_known_by_the_evidence(
    engine: ScriptedEngine, script: Script, ending: str
) -> None:
    records, clients = await _played(engine, script)

    assert endings(records, clients) == Counter({("llm", ending): 1})


def test_every_modality_has_its_rules() -> None:
    for modality in MODALITIES:
        assert all(rule.unit.startswith(f"{modality}.") for rule in RULES[modality])


# --- the mix


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mix_has_ten_of_each_and_not_too_many_that_end_well(seed: int) -> None:
    mix = draw(seed)
    cells = Counter((planned.modality, planned.ending) for planned in mix.planned.values())

    assert len(mix.planned) == 1_000
    assert min(cells[modality, ending] for modality in MODALITIES for ending in ENDINGS) >= 10
    assert sum(count for (_, ending), count in cells.items() if ending == "ok") <= 400
    assert sum(planned.alone for planned in mix.planned.values()) == len(MODALITIES)


@pytest.mark.slow
def test_a_seed_draws_the_same_mix_again() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_a_mix_uses_every_endpoint_and_form() -> None:
    planned = draw().planned.values()

    assert len({one.request.path for one in planned}) == 13
    assert len({one.request.reader for one in planned}) == 19
    assert {one.leave.at for one in planned if one.leave} == {"sent", "body"}


HOME: dict[Modality, Callable[[int, bool], ClientRequest]] = {
    "llm": lambda tag, stream: ask.chat(tag, stream=stream),
    "vlm": lambda tag, stream: ask.vision(tag, stream=stream),
    "asr": lambda tag, stream: ask.transcription(tag, response_format="verbose_json"),
    "tts": lambda tag, stream: ask.speech(tag),
    "embedding": lambda tag, stream: ask.embeddings(tag),
}


def _bill(case: Case) -> LedgerRow:
    """What an honest gateway would write: all of a good reply, of another what the client read."""
    good = case.ending == "ok"
    units = dict(case.client.units)
    for call in case.calls if good else ():
        units |= {unit: count for unit, count in call.sent.items() if unit != "asr.audio_samples"}
    return LedgerRow(
        request_id=case.request_id or "", modality=case.client.modality, units=units, exact=good
    )


async def test_a_mix_played_at_the_engine_itself_balances() -> None:
    """Without a gateway between, for the modalities whose clients speak the home wire."""
    mix = draw(4, 400, least=10)
    seen = {
        tag: replace(
            planned,
            request=HOME[planned.modality](tag, planned.request.streamed).with_headers(
                x_request_id=f"req_{tag}"
            ),
            scripts=planned.scripts[-1:],
            leave=replace(planned.leave, at="sent") if planned.leave else None,
        )
        for tag, planned in mix.planned.items()
        if planned.modality in HOME and planned.ending != "timeout"
    }
    mix = replace(mix, planned=seen)

    def script_for(record: Record) -> Script:
        return replace(mix.script_for(record), headers=(("x-request-id", record.request_id),))

    async with ScriptedEngine(script_for) as engine:
        clients = await play_mix(mix, engine.url, [engine], width=32)
        await asyncio.sleep(0.05)
        found = cases(engine.records, clients, [])
        rows = [_bill(case) for case in found]
        wrong = compare(engine.records, clients, rows)
        happened = endings(engine.records, clients, rows)

    planned = Counter((one.modality, one.ending) for one in seen.values())
    assert wrong == []
    assert happened == planned


@pytest.mark.parametrize("at", WINDOWS)
@pytest.mark.parametrize("modality", ["llm", "tts", "embedding"])
async def test_a_client_leaves_in_its_window(modality: Modality, at: str) -> None:
    stream = modality == "llm"
    planned = window(modality, at, tag=3, stream=stream)  # type: ignore[arg-type]  # from a table
    async with ScriptedEngine(planned.script_for) as engine:
        client = await play(planned, engine.url, [engine])
        await engine.reached(3, "ended")
        [record] = engine.records

        assert client.ended == "cut"
        assert gone_after_ms(engine.records, client)[0] < 100
        assert (record.headers_at is None) is (at == "headers")
        assert bool(record.written_at) is (at == "body")


def test_texts_carry_their_tags() -> None:
    texts: Sequence[str] = ["q0001q a q0002q", "b", "q0001q", "xq0003q"]

    assert tags_in(texts) == (1, 2)
