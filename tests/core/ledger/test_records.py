from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace
from rigs.ledger import WALL, receipt

from modgate.api.sink import Attempt, Ruling
from modgate.ledger.frames import Kind
from modgate.ledger.records import (
    Adjusted,
    Audited,
    Ended,
    Noted,
    Opened,
    crashed,
    ended_of,
    kind_of,
)

FIRST = Attempt(
    call=0,
    backend="eu-1",
    region="eu",
    model="Qwen/Qwen3-32B",
    began_s=0.0,
    span="00f067aa0ba902b7",
    sent=True,
    ended_s=0.1,
    state="failed",
    status=503,
    error="upstream_error",
)
SECOND = Attempt(
    call=0,
    backend="eu-2",
    region="eu",
    model="Qwen/Qwen3-32B",
    began_s=0.1,
    span="b7ad6b7169203331",
)


RESERVED = {"llm.output_tokens": 100}


def packed(record: Ended | Opened) -> dict[str, object]:
    found: dict[str, object] = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    return found


def test_every_record_says_its_version() -> None:
    opened = Opened(v=1, id="req_1", wall=WALL)

    assert packed(opened)["v"] == 1
    assert packed(ended_of(receipt("req_1")))["v"] == 1
    assert packed(crashed(opened, None, WALL))["v"] == 1


def test_an_end_holds_what_a_bill_needs() -> None:
    found = packed(ended_of(receipt("req_1", attempts=(FIRST, SECOND))))
    attempts = found.pop("attempts")

    assert found == {
        "v": 1,
        "id": "req_1",
        "wall": WALL,
        "ending": "ok",
        "status": 200,
        "tenant": "acme",
        "key_id": "k1",
        "model": "chat",
        "modality": "llm",
        "operation": "chat",
        "route": "/v1/chat/completions",
        "surface": "openai",
        "stream": True,
        "slo": "gold",
        "duration_s": 1.25,
        "first_byte_s": 0.25,
        "units": {"llm.output_tokens": 7, "llm.requests": 1},
        "reserved": {"llm.output_tokens": 100},
        "by": "engine",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert isinstance(attempts, list)
    assert len(attempts) == 2


def test_an_attempt_keeps_its_zeros() -> None:
    attempts = packed(ended_of(receipt("req_1", attempts=(FIRST, SECOND))))["attempts"]

    assert isinstance(attempts, list)
    assert attempts[0]["call"] == 0
    assert attempts[0]["began_s"] == 0.0
    assert attempts[0]["status"] == 503
    assert attempts[1]["sent"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "eu"),
        ("family", "vllm"),
        ("operation", "chat"),
        ("first_s", 0.0),
        ("ended_s", 0.0),
        ("status", 503),
        ("error", "upstream_error"),
        ("members", 0),
        ("members", 2),
        ("broke", "total"),
        ("units", {"llm.output_tokens": 3}),
        ("units", {}),
    ],
)
def test_an_attempt_says_what_is_its_own_and_nothing_that_most_are_not(
    name: str, value: object
) -> None:
    plain = Attempt(call=1, backend="b", region="", model="m", began_s=0.5, span="5a")
    said = {"call": 1, "backend": "b", "model": "m", "began_s": 0.5, "span": "5a"}
    said |= {"sent": False, "state": "pending"}
    attempts = (plain, replace(plain, **{name: value}))

    assert ended_of(receipt("req_1", attempts=attempts)).attempts == [said, {**said, name: value}]


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (Opened(v=1, id="req_1", wall=WALL), Kind.OPEN),
        (ended_of(receipt("req_1")), Kind.END),
        (Adjusted(id="req_1", sequence=1, wall=WALL, reason="price"), Kind.ADJUST),
        (Noted(wall=WALL, what="closed"), Kind.ANCHOR),
        (Audited(wall=WALL, action="denied"), Kind.AUDIT),
    ],
)
def test_a_record_tells_its_kind_by_its_members(record: object, kind: Kind) -> None:
    assert kind_of(msgspec.msgpack.encode(record)) is kind


def test_an_end_that_is_not_exact_says_so() -> None:
    assert packed(ended_of(receipt("req_1", exact=False)))["exact"] is False


def test_a_crash_is_billed_by_the_last_touch_as_an_estimate_at_the_time_it_began() -> None:
    opened = Opened(v=1, id="req_1", wall=WALL, tenant="acme", modality="llm", reserved=RESERVED)
    touched = crashed(opened, {"llm.output_tokens": 12, "llm.input_tokens": 0}, opened.wall)
    never = crashed(opened, None, opened.wall)

    assert touched.units == {"llm.output_tokens": 12, "llm.requests": 1}
    assert never.units == {"llm.output_tokens": 100, "llm.requests": 1}
    for end in (touched, never):
        assert (end.ending, end.by, end.exact, end.status) == (
            "gateway_crash",
            "estimate",
            False,
            0,
        )
        assert (end.tenant, end.wall, end.reserved) == ("acme", WALL, opened.reserved)


def test_the_end_of_a_crash_is_of_who_and_what_was_opened() -> None:
    said = {
        **{"tenant": "acme", "key_id": "k1", "model": "chat", "modality": "llm", "slo": "batch"},
        **{"fallback_for": "first", "fallback_on": "error", "region": "eu", "regions": ("eu",)},
    }
    end = crashed(
        msgspec.convert({"v": 1, "id": "req_1", "wall": WALL, **said}, Opened), None, WALL
    )

    assert {name: getattr(end, name) for name in said} == said


def test_a_crash_of_no_modality_is_no_request_of_one() -> None:
    opened = Opened(v=1, id="req_1", wall=WALL, reserved=RESERVED)

    assert crashed(opened, None, WALL).units == RESERVED


def test_a_reader_takes_records_with_fields_to_come() -> None:
    more = {**packed(ended_of(receipt("req_1"))), "from the future": [1, 2]}

    found = msgspec.msgpack.decode(msgspec.msgpack.encode(more), type=Ended)

    assert found == ended_of(receipt("req_1"))


def test_an_end_is_marked_with_what_policies_and_shadows_said() -> None:
    rulings = (
        Ruling(policy="geo", verdict="allow", seconds=0.00001),
        Ruling(policy="guard", verdict="deny", seconds=0.02, code="house_rule", shadow=True),
    )
    notes = {"would_refuse": "requests/hour"}
    marked = replace(receipt("req_1"), rulings=rulings, notes=notes)
    found = packed(ended_of(marked))

    assert found["would_refuse"] == "requests/hour"
    assert found["policies"] == [
        {"policy": "guard", "verdict": "deny", "ms": 20.0, "code": "house_rule", "shadow": True}
    ]
    assert not {"would_refuse", "policies"} & packed(ended_of(receipt("req_2"))).keys()
