"""Changes to a chat reply on its bytes, and the template that spares them."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modgate.api.select import Served
from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.chat_relay import ChatRelay, Style
from modgate.kit.chat_template import Template
from modgate.kit.chat_wire import (
    Extra,
    aliased,
    finished,
    given_up,
    has_finished,
    one_reasoning,
)
from modgate.kit.families.llamacpp import LlamaCpp
from modgate.kit.families.sglang import Sglang
from modgate.kit.families.vllm import Vllm
from modgate.plugin import Body, Call, Event, Json, JsonObject

HOSTILE = r'{"a":"\"finish_reason\":\"abort\", \"token_ids\":null, \"reasoning\":\"x\""}'


@pytest.mark.parametrize(
    ("engine", "wire"),
    [
        ("eos", "stop"),
        ("stop_str", "stop"),
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("repetition", "length"),
        ("tool_calls", "tool_calls"),
        ("something_new", "something_new"),
    ],
)
def test_a_finish_is_told_in_the_words_of_the_wire(engine: str, wire: str) -> None:
    for text in ('{"finish_reason":"%s"}', '{"finish_reason" : "%s"}'):
        data = finished((text % engine).encode())

        assert orjson.loads(data) == {"finish_reason": wire}
        assert has_finished(data)


@pytest.mark.parametrize("told", ['{"finish_reason":""}', '{"finish_reason" : ""}'])
def test_an_empty_reason_is_none(told: str) -> None:
    assert not has_finished(told.encode())
    assert orjson.loads(finished(told.encode())) == {"finish_reason": None}


def test_an_empty_reason_beside_one_that_is_told_is_none() -> None:
    both = b'[{"finish_reason":""},{"finish_reason":"eos"}]'

    assert has_finished(both)
    assert orjson.loads(finished(both)) == [{"finish_reason": None}, {"finish_reason": "stop"}]


@pytest.mark.parametrize(
    "why",
    ["abort", "aborted", "cancelled", "error", "timeout", "insufficient_system_resource"],
)
def test_an_engine_that_leaves_a_choice_unfinished_has_failed(why: str) -> None:
    for text in ('{"finish_reason":"%s"}', '{"finish_reason" : "%s"}'):
        assert given_up((text % why).encode())
        assert has_finished((text % why).encode())
    assert not given_up(b'{"finish_reason":"stop"}')
    assert not given_up(HOSTILE.encode())


def test_a_text_that_looks_like_a_member_is_left_alone() -> None:
    data = HOSTILE.encode()

    assert finished(data) == one_reasoning(data) == data
    assert Extra("token_ids").without(data) == data
    assert aliased(data, "both") == data


@pytest.mark.parametrize(
    ("alias", "names"),
    [("both", {"reasoning", "reasoning_content"}), ("reasoning", {"reasoning"})],
)
@pytest.mark.parametrize("said", ['"because \\"so\\""', "null"])
def test_reasoning_has_the_names_that_are_wanted(alias: str, names: set[str], said: str) -> None:
    engine = b'{"delta":{"reasoning":%s,"content":null}}' % said.encode()
    delta = orjson.loads(aliased(one_reasoning(engine), alias))["delta"]

    assert delta.keys() == names | {"content"}
    assert {orjson.dumps(delta[name]) for name in names} == {said.encode()}


def test_an_engine_that_says_both_names_is_not_doubled() -> None:
    data = b'{"reasoning":"a","reasoning_content":"a"}'

    assert aliased(one_reasoning(data), "both") == data


@pytest.mark.parametrize(
    ("engine", "left"),
    [
        ('{"choices":[{"index":0,"token_ids":null}]}', '{"choices":[{"index":0}]}'),
        ('{"choices":[{"token_ids":null,"index":0}]}', '{"choices":[{"index":0}]}'),
        (
            '{"choices":[{"index":0,"token_ids":[1,2],"delta":{"token_ids":[]}}],"token_ids":7}',
            '{"choices":[{"index":0,"delta":{}}]}',
        ),
    ],
)
def test_what_is_an_engines_own_is_taken_out(engine: str, left: str) -> None:
    assert Extra("token_ids", "metrics").without(engine.encode()) == left.encode()


texts = st.text(max_size=6) | st.sampled_from(['"', "\\", "\n", "é", '"error"', '"usage":{}', ""])
deltas = st.one_of(
    st.builds(lambda text: {"content": text}, texts),
    st.builds(lambda text: {"role": "assistant", "content": text}, texts),
    st.builds(lambda text: {"reasoning": text}, texts),
    st.builds(lambda one, two: {"content": one, "reasoning_content": two}, texts, texts),
    st.builds(lambda text: {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}, texts),
)
usages: st.SearchStrategy[Json] = st.sampled_from(
    [..., ..., None, {"prompt_tokens": 3, "completion_tokens": 1}]
)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    choice: JsonObject = {"index": 0, "delta": draw(deltas)}
    choice["finish_reason"] = draw(st.sampled_from([None, None, None, "eos"]))
    choice |= draw(st.sampled_from([{}, {}, {"token_ids": None}, {"stop_reason": 2}]))
    chunk: JsonObject = {"id": "c", "model": "engines", "choices": [choice]}
    usage = draw(usages)
    return orjson.dumps(chunk if usage is ... else {**chunk, "usage": usage})


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (b"", False),
        (b"plain", True),
        (rb"\n", True),
        (rb"say \"hi\"", True),
        (rb"a\\", True),
        (rb"\\\"", True),
        (rb'a"b', False),
        (rb'a\\"b', False),
        (rb'\n"', False),
        (b"a\\", False),
        (b"a\\\\\\", False),
    ],
)
def test_only_a_whole_json_text_fills_a_template(text: bytes, taken: bool) -> None:
    template = Template()
    template.learn(b'{"content":"x"}', lambda data: data.replace(b"content", b"CONTENT"))
    filled = template.filled(b'{"content":"' + text + b'"}')

    assert filled == (b'{"CONTENT":"' + text + b'"}' if taken else None)


@pytest.mark.parametrize("family", [ChatDialect, Vllm, Sglang, LlamaCpp])
@pytest.mark.parametrize("include", [False, True])
def test_a_stream_reads_the_same_with_and_without_a_template(
    family: type[ChatDialect], include: bool
) -> None:
    @settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=60,
        suppress_health_check=list(HealthCheck),
    )
    @given(stream=st.lists(st.lists(chunks(), min_size=1, max_size=2), max_size=6))
    def property_holds(stream: list[list[bytes]]) -> None:
        data = [chunk for run in stream for chunk in run * 2]

        assert _relayed(family, include, data, True) == _relayed(family, include, data, False)

    property_holds()


def _relayed(
    family: type[ChatDialect], include: bool, stream: list[bytes], learns: bool
) -> tuple[list[bytes], object]:
    call = Call(path="/v1/chat/completions", body=Body.of(), reply="sse")
    dialect = family(call, Served(asked="m", model="m", name="engines"))
    relay = ChatRelay(stream=True, include_usage=include, prompt=1, style=Style(legacy=True))
    if not learns:
        for each in (dialect, relay):
            each._template._lessons = 0
    written: list[bytes] = []
    for data in stream:
        for event in dialect.decode(Event(data)):
            written += relay.feed(0, event)
    return written, relay.usage(())
