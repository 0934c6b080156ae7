"""A receipt is made in its members' order: each of them says what the member of that name did."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rigs.drafts import drafted

from modgate.api.auth import Caller, Policy
from modgate.api.sink import Attempt, Receipt, Ruling, Step
from modgate.draft import Draft
from modgate.errors import LimitReached
from modgate.fleet.pick import Choice
from modgate.fleet.promise import Promise
from modgate.fleet.slots import Seat, Slots
from modgate.fleet.terms import Terms
from modgate.observe.tracing import Trace
from modgate.tries import Try

ERROR = LimitReached("no more", limit="requests", unit="requests", retry_after_s=1.0)
POLICY = Policy(slo="gold", regions=frozenset({"eu"}))


def tried() -> Try:
    seat = Seat(backend="b", region="", slots=Slots(limit=8), key="b", seed=1)
    promise = Promise(Choice(seat, 1.0, 0.1, "fit"), 1.0, Terms(slo="gold"), 0.0)
    promise.broke = "total"
    return Try(
        call=3,
        backend="eu-1",
        region="eu",
        family="home",
        model="small",
        span="5a",
        now=lambda: 0.0,
        zero=1.0,
        began_s=0.25,
        sent=True,
        first_s=0.5,
        ended_s=0.75,
        state="refused",
        status=418,
        error="teapot",
        members=2,
        units={"llm.input_tokens": 5},
        promise=promise,
    )


def made() -> Receipt:
    draft = Draft(
        request_id="req_1",
        trace=Trace(trace_id="7e", span_id="5b", parent="9a", sampled=True),
        now=lambda: 12.0,
        began=10.0,
        wall=1e9,
        method="POST",
        route="/v1/x",
        caller=Caller(tenant="acme", key_id="k", policy=POLICY),
        modality="llm",
        model="large",
        operation="chat",
        surface="openai",
        stream=True,
        client_request_id="mine",
        client="10.0.0.1",
        reserved={"llm.output_tokens": 9},
        admitted=True,
        tries=[tried()],
        steps=[Step(name="shape", began_s=0.0, ended_s=0.1)],
        first_byte_s=1.5,
        notes={"slo": "best-effort"},
        rulings=(Ruling(policy="p", verdict="allow", seconds=0.1),),
    )
    return draft.receipt(
        ending="refused",
        status=429,
        units={"llm.output_tokens": 4},
        exact=False,
        measured_by="engine",
        error=ERROR,
    )


def test_every_member_of_a_receipt_is_its_own() -> None:
    assert made() == Receipt(
        request_id="req_1",
        wall=1e9,
        duration_s=2.0,
        ending="refused",
        status=429,
        tenant="acme",
        key_id="k",
        method="POST",
        route="/v1/x",
        operation="chat",
        modality="llm",
        model="large",
        surface="openai",
        slo="gold",
        stream=True,
        error=ERROR.code,
        units={"llm.output_tokens": 4},
        reserved={"llm.output_tokens": 9},
        exact=False,
        measured_by="engine",
        attempts=(tried().record("chat"),),
        steps=(Step(name="shape", began_s=0.0, ended_s=0.1),),
        first_byte_s=1.5,
        admitted=True,
        trace_id="7e",
        span_id="5b",
        parent_span_id="9a",
        sampled=True,
        client_request_id="mine",
        client="10.0.0.1",
        notes={"slo": "best-effort"},
        rulings=(Ruling(policy="p", verdict="allow", seconds=0.1),),
        regions=frozenset({"eu"}),
    )


def test_every_member_of_an_attempt_is_its_own() -> None:
    assert tried().record("chat") == Attempt(
        call=3,
        backend="eu-1",
        region="eu",
        model="small",
        began_s=0.25,
        span="5a",
        family="home",
        operation="chat",
        sent=True,
        first_s=0.5,
        ended_s=0.75,
        state="refused",
        status=418,
        error="teapot",
        members=2,
        broke="total",
        units={"llm.input_tokens": 5},
    )


def test_no_member_is_left_out() -> None:
    """What a member is by itself tells nothing: each of these is another."""
    plain = Receipt("", 0.0, 0.0, "ok", 0)
    bare = Attempt(0, "", "", "", 0.0, "")
    receipt, attempt = made(), tried().record("chat")

    assert [n for n in Receipt.__struct_fields__ if getattr(receipt, n) == getattr(plain, n)] == []
    assert [n for n in Attempt.__struct_fields__ if getattr(attempt, n) == getattr(bare, n)] == []


@pytest.mark.parametrize(
    ("said", "note"), [("2", "2"), ("0", ""), ("x", ""), ("-1", ""), ("9" * 99, "9999")]
)
def test_a_request_that_an_sdk_sends_again_is_noted_as_one(said: str, note: str) -> None:
    draft = drafted(request_headers={"x-stainless-retry-count": said})
    receipt = draft.receipt(
        ending="ok", status=200, units={}, exact=True, measured_by="gateway", error=None
    )

    assert receipt.notes.get("client_retry", "") == note


@pytest.mark.parametrize(
    ("calls", "region"),
    [
        ([(-1, "us")], "us"),
        ([(-1, "us"), (0, "eu")], "eu"),
        ([(-1, "us"), (0, "us"), (0, "eu")], "eu"),
        ([(-1, "eu"), (0, "eu"), (1, "us")], ""),
    ],
)
def test_a_request_is_where_its_own_calls_are_and_not_where_it_asked(
    calls: list[tuple[int, str]], region: str
) -> None:
    tries = [replace(tried(), call=call, region=where) for call, where in calls]
    draft = drafted(tries=tries)

    assert draft.region() == region


def test_a_request_is_where_the_model_is_that_took_anothers_place() -> None:
    ours = [replace(tried(), call=call, region="us", model="first") for call in (0, 1, 2)]
    tries = [*ours, replace(tried(), call=0, region="eu", model="second")]
    draft = drafted(tries=tries)
    draft.model = "second"
    draft.notes["fallback_for"] = "first"

    assert draft.region() == "eu"


def test_a_call_that_went_out_before_the_first_counts_where_a_request_is() -> None:
    tries = [replace(tried(), call=call, region=at) for call, at in ((1, "us"), (0, "eu"))]
    draft = drafted(tries=tries)
    draft.model = tries[0].model

    assert draft.region() == ""
