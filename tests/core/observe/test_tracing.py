from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.entropy import Entropy
from modgate.observe.tracing import Trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_request_joins_the_trace_it_came_with() -> None:
    trace = Trace.of({"traceparent": PARENT})

    assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert trace.parent == "b7ad6b7169203331"
    assert trace.span_id != trace.parent
    assert trace.sampled


def test_the_sampled_flag_of_the_client_counts_and_not_the_share() -> None:
    assert not Trace.of({"traceparent": PARENT[:-1] + "0"}, sample=1.0).sampled
    assert not Trace.of({"traceparent": PARENT[:-1] + "2"}, sample=1.0).sampled
    assert Trace.of({"traceparent": PARENT[:-2] + "ff"}).sampled


@pytest.mark.parametrize(
    "value",
    [
        "",
        "junk",
        PARENT.upper(),
        PARENT + "-x",
        PARENT[:-1],
        PARENT.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        PARENT.replace("-", "_"),
        f"{PARENT},{PARENT}",
        PARENT.replace("0af7", "0ag7"),
        PARENT + "\n" + PARENT,
    ],
)
def test_a_bad_parent_is_ignored_and_a_new_trace_begins(value: str) -> None:
    trace = Trace.of({"traceparent": value, "tracestate": "a=b"})

    assert trace.parent is None
    assert trace.trace_id not in ("0af7651916cd43dd8448eb211c80319c", "0" * 32)
    assert trace.state == ""


def test_a_later_version_may_say_more() -> None:
    trace = Trace.of({"traceparent": PARENT.replace("00-", "cc-", 1) + "-what-comes"})

    assert trace.parent == "b7ad6b7169203331"


@given(value=st.text())
@settings(derandomize=True, deadline=None)
def test_no_header_is_an_error(value: str) -> None:
    trace = Trace.of({"traceparent": value, "tracestate": value})

    assert len(trace.trace_id) == 32
    assert len(trace.span_id) == 16


def test_what_goes_upstream_names_the_attempt_and_can_be_read_back() -> None:
    trace = Trace.of({"traceparent": PARENT})
    span = "b7ad6b7169203331"
    header = trace.header(span)

    assert header == f"00-0af7651916cd43dd8448eb211c80319c-{span}-01"
    assert Trace.of({"traceparent": header}).parent == span


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", True),
        ("a=" + "b" * 510, True),
        ("a=" + "b" * 511, False),
    ],
)
def test_the_state_of_other_vendors_is_passed_on_whole_or_not_at_all(
    state: str, kept: bool
) -> None:
    trace = Trace.of({"traceparent": PARENT, "tracestate": state})

    assert trace.state == (state if kept else "")


def test_a_share_of_new_traces_is_sampled() -> None:
    found = sum(Trace.of({}, sample=0.25).sampled for _ in range(4000))

    assert 800 < found < 1200
    assert not any(Trace.of({}, sample=0.0).sampled for _ in range(100))
    assert all(Trace.of({}, sample=1.0).sampled for _ in range(100))


def test_a_small_share_is_not_rounded_up() -> None:
    found = sum(Trace.of({}, sample=0.0005).sampled for _ in range(20_000))

    assert found < 40


def test_no_two_requests_have_the_same_ids() -> None:
    entropy = Entropy()
    traces = [Trace.of({}, entropy=entropy) for _ in range(1000)]

    assert len({trace.trace_id for trace in traces}) == 1000
    assert len({trace.span_id for trace in traces}) == 1000


def test_each_random_byte_is_given_once() -> None:
    entropy = Entropy()
    given = [entropy(16) for _ in range(1000)]

    assert {len(each) for each in given} == {16}
    assert len(set(given)) == 1000


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-request-id": "a.b_c:d-1"}, "a.b_c:d-1"),
        ({"x-client-request-id": "c-1"}, "c-1"),
        ({"x-request-id": "a", "x-client-request-id": "b"}, "a"),
        ({"x-request-id": "a b"}, ""),
        ({"x-request-id": "a" * 129}, ""),
        ({"x-request-id": "a\n"}, ""),
        ({"x-request-id": "mg_live_" + "a" * 12 + "_secret_check"}, ""),
        ({"x-client-request-id": "sk-" + "a1" * 12}, ""),
        ({"x-request-id": "eyJhbGciOiJF.eyJpc3MiOiJo.c2ln"}, ""),
        ({}, ""),
    ],
)
def test_only_a_harmless_client_id_is_taken(headers: dict[str, str], found: str) -> None:
    assert Trace.client_id(headers) == found
