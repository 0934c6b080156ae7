"""A call a choice: what each is asked, and what of their replies is the client's one."""

from __future__ import annotations

from typing import Literal

import orjson
import pytest

from modgate.errors import BadReply
from modgate.kit.chat_fan import FanRelay, fanned
from modgate.plugin import Body, Call, Event, JsonObject, Outcome, Units

OK, PENDING = Outcome(state="ok"), Outcome()


def relay(*, stream: bool = False, each: int = 2) -> FanRelay:
    return FanRelay(stream=stream, include_usage=stream, prompt=7, each=each, least=3)


def whole(*texts: str, **usage: object) -> Event:
    choices = [
        {"index": index, "text": text, "finish_reason": "stop"} for index, text in enumerate(texts)
    ]
    value: JsonObject = {"id": f"cmpl-{texts[0]}", "choices": choices}
    return Event(orjson.dumps({**value, "usage": usage} if usage else value))


def chunk(text: str, finish: str | None = None, **more: object) -> Event:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return Event(orjson.dumps({"id": text, "created": 5, "choices": [choice], **more}))


def test_each_call_asks_for_one_choice_and_the_prompt_is_reserved_once() -> None:
    call = Call(
        path="/v1/chat/completions",
        body=Body.of(messages=[], n=3, seed=5),
        size=Units(input_tokens=10, output_tokens=30),
    )
    calls = fanned(call, 3, 10)

    assert [dict(each.size) for each in calls] == [
        {"output_tokens": 10, "input_tokens": 10},
        {"output_tokens": 10, "input_tokens": 0},
        {"output_tokens": 10, "input_tokens": 0},
    ]
    assert [set(each.body.members()) for each in calls] == [{"messages", "seed"}] * 3
    assert [each.body.members()["seed"] for each in calls] == [b"5", b"6", b"7"]


def test_choices_of_several_prompts_are_numbered_by_prompt() -> None:
    joining = relay()
    joining.feed(0, whole("a0", "b0"))
    joining.feed(1, whole("a1", "b1"))
    [data] = joining.close([OK, OK])

    choices = orjson.loads(data)["choices"]
    assert [(choice["index"], choice["text"]) for choice in choices] == [
        (0, "a0"),
        (1, "a1"),
        (2, "b0"),
        (3, "b1"),
    ]


def test_usage_names_the_prompt_once_and_adds_what_was_written() -> None:
    joining = relay()
    one = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    details = {"completion_tokens_details": {"reasoning_tokens": 3}}
    cached = {"prompt_tokens_details": {"cached_tokens": 2}}
    joining.feed(0, whole("a", **one, **details, **cached))
    joining.feed(1, whole("b", **one, **details, prompt_tokens_details={"cached_tokens": 9}))
    [data] = joining.close([OK, OK])
    usage = joining.usage([OK, OK])

    assert orjson.loads(data)["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 8,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    assert dict(usage.units) == {"input_tokens": 9, "cached_tokens": 2, "output_tokens": 8}
    assert (usage.exact, usage.by) == (True, "engine")


def test_usage_inside_a_choice_is_that_calls_word() -> None:
    joining = relay(stream=True)
    for index in range(2):
        choice = {"index": 0, "delta": {}, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
        joining.feed(index, Event(orjson.dumps({"choices": [choice]})))
    usage = joining.usage([OK, OK])

    assert dict(usage.units) == {"input_tokens": 9, "output_tokens": 8}
    assert (usage.exact, usage.by) == (True, "engine")


def test_until_every_call_has_reported_the_bill_is_a_floor() -> None:
    joining = relay(stream=True)

    assert dict(joining.usage([]).units) == {"output_tokens": 0}
    joining.feed(0, chunk("a"))
    assert dict(joining.usage([PENDING]).units) == {"input_tokens": 3, "output_tokens": 1}
    joining.feed(0, Event(b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}'))
    told = joining.usage([OK])
    assert dict(told.units) == {"input_tokens": 9, "output_tokens": 4}
    assert not told.exact
    joining.feed(1, chunk("b"))
    assert dict(joining.usage([OK, PENDING]).units) == {"input_tokens": 9, "output_tokens": 5}


def test_a_stream_is_one_reply_with_one_id() -> None:
    joining = relay(stream=True)
    data = [*joining.feed(0, chunk("a", "stop")), *joining.feed(1, chunk("b", "length"))]
    told = [orjson.loads(each.removeprefix(b"data: ")) for each in data]

    assert [value["id"] for value in told] == ["a", "a"]
    assert [value["choices"][0]["index"] for value in told] == [0, 1]
    assert [value["choices"][0]["finish_reason"] for value in told] == ["stop", "length"]


def test_without_usage_of_the_engine_the_bill_is_an_estimate() -> None:
    joining = relay()
    joining.feed(0, whole("abcdef"))
    joining.feed(1, whole("abc"))
    usage = joining.usage([OK, OK])

    assert dict(usage.units) == {"input_tokens": 7, "output_tokens": 3}
    assert (usage.exact, usage.by) == (False, "estimate")


def test_where_only_some_calls_report_the_reply_shows_the_bill() -> None:
    joining = relay()
    joining.feed(0, whole("abcdef", prompt_tokens=9, completion_tokens=4))
    joining.feed(1, whole("abc"))
    [data] = joining.close([OK, OK])

    assert orjson.loads(data)["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
    }
    assert dict(joining.usage([OK, OK]).units) == {"input_tokens": 9, "output_tokens": 5}


def test_usage_that_was_asked_for_and_that_no_engine_says_is_the_bill() -> None:
    joining = relay(stream=True)
    for index in range(2):
        list(joining.feed(index, chunk("a", "stop")))
    last, done = joining.close([OK, OK])

    assert orjson.loads(last.removeprefix(b"data: ")) == {
        "id": "a",
        "created": 5,
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
    assert done == b"data: [DONE]\n\n"


def test_an_engine_cannot_report_less_than_it_sent() -> None:
    joining = relay(stream=True)
    said = Event(b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}')
    for index in range(2):
        for event in (*map(chunk, "abc"), said):
            list(joining.feed(index, event))
    usage = joining.usage([OK, OK])

    assert dict(usage.units) == {"input_tokens": 9, "output_tokens": 6}
    assert (usage.exact, usage.by) == (False, "gateway")


@pytest.mark.parametrize(
    ("outcome", "units", "by"),
    [
        ("ok", {"input_tokens": 7, "output_tokens": 2}, "estimate"),
        ("failed", {"input_tokens": 3, "output_tokens": 2}, "gateway"),
    ],
)
def test_a_whole_stream_without_usage_has_its_prompt(
    outcome: Literal["ok", "failed"], units: dict[str, int], by: str
) -> None:
    joining = relay(stream=True)
    for index in range(2):
        list(joining.feed(index, chunk("a", "stop")))
    usage = joining.usage([OK, Outcome(state=outcome)])

    assert (dict(usage.units), usage.by, usage.exact) == (units, by, False)


@pytest.mark.parametrize("wrote", [4, 11])
def test_of_a_call_that_tells_often_its_last_word_is_billed_and_till_then_the_largest(
    wrote: int,
) -> None:
    joining = relay(stream=True)
    usages = [{"prompt_tokens": 9, "completion_tokens": each} for each in (5, 10, 6, wrote)]
    for usage in usages[:3]:
        list(joining.feed(0, chunk("a", usage=usage)))
    before = joining.usage([PENDING])
    last = {"choices": [], "usage": usages[3]}
    list(joining.feed(0, Event(orjson.dumps(last))))
    list(joining.feed(1, chunk("a", "stop", usage=usages[0])))
    after = joining.usage([OK, OK])

    assert before.units["output_tokens"] == 10
    assert (after.units["output_tokens"], after.exact) == (wrote + 5, wrote == 11)


@pytest.mark.parametrize(
    "data", [b"[]", b"{}", b'{"choices":[1]}', b'{"choices":[{"index":"0"}]}', b"<html>"]
)
def test_what_is_no_chat_is_a_bad_reply(data: bytes) -> None:
    with pytest.raises(BadReply):
        relay().feed(0, Event(data))


def test_a_prompt_that_falls_with_the_last_word_is_not_known_exactly() -> None:
    joining = relay(stream=True, each=1)
    list(joining.feed(0, chunk("a", usage={"prompt_tokens": 9, "completion_tokens": 1})))
    last = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
    list(joining.feed(0, Event(orjson.dumps(last))))
    usage = joining.usage([OK])

    assert dict(usage.units) == {"input_tokens": 5, "output_tokens": 1}
    assert not usage.exact
