"""What Mistral's SDKs read of a chat, and what engines read of theirs; the bill is the chat's."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from modgate.errors import BadReply
from modgate.http.surfaces import built_in
from modgate.kit.chat_fan import FanRelay
from modgate.kit.chat_mistral import MistralRelay, as_chat
from modgate.kit.chat_relay import ChatRelay
from modgate.plugin import Body, Event, Json, JsonObject, Model, Outcome, Refused, Relay, Request

OK = Outcome(state="ok")
USAGE: JsonObject = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
BILLED: JsonObject = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
USER: JsonObject = {"role": "user", "content": "Hi"}
FRONT: JsonObject = {"id": "c", "model": "m"}
ZERO: JsonObject = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def chunk(
    delta: JsonObject | None, finish: str | None = None, index: int = 0, **more: Json
) -> Event:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    choices = [] if delta is None else [choice]
    return Event(orjson.dumps({**FRONT, "choices": choices, **more}))


def call(index: int, **function: str) -> JsonObject:
    begins = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **begins, "function": function}]}


def relay(*, stream: bool = True) -> MistralRelay:
    return MistralRelay(ChatRelay(stream=stream, include_usage=stream, prompt=7))


def told(relaying: Relay, *events: Event) -> list[JsonObject]:
    """What a stream says, without its end."""
    data = [each for event in events for each in relaying.feed(0, event)]
    data += relaying.close([OK])
    assert data.pop() == b"data: [DONE]\n\n"
    return [orjson.loads(each.removeprefix(b"data: ")) for each in data]


def said(values: Sequence[JsonObject]) -> list[tuple[Json, Json, Json]]:
    """Of each chunk: what it says, how it finished, and its usage."""
    return [
        (choice["delta"], choice["finish_reason"], value.get("usage"))
        for value in values
        for choice in value["choices"]
    ]


TOOLS = (
    chunk({"role": "assistant", "content": None}),
    chunk(call(0, name="weather", arguments="")),
    chunk(call(0, arguments='{"city":')),
    chunk(call(1, name="clock", arguments="{}")),
    chunk(call(0, arguments='"Paris"}')),
)
CALLS = [
    {
        "id": f"call_{index}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        "index": index,
    }
    for index, (name, arguments) in enumerate((("weather", '{"city":"Paris"}'), ("clock", "{}")))
]


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_calls_are_said_whole_in_the_chunk_that_finishes_and_has_the_usage(finish: str) -> None:
    read = said(told(relay(), *TOOLS, chunk({}, finish), chunk(None, usage=USAGE)))

    assert read == [
        ({"role": "assistant", "content": ""}, None, None),
        ({"content": "", "tool_calls": CALLS}, "tool_calls", USAGE),
    ]


def test_a_text_before_calls_is_said_at_once() -> None:
    relaying = relay()
    first = list(relaying.feed(0, chunk({"content": "Look", **call(0, name="f", arguments="{")})))

    assert orjson.loads(first[0][6:])["choices"][0]["delta"] == {"content": "Look"}


def test_no_chunk_is_without_a_choice_and_plain_ones_go_on_as_they_are() -> None:
    plain = chunk({"content": 'say "usage":{'}).data
    relaying = relay()
    first = list(relaying.feed(0, Event(plain)))
    read = said(told(relaying, chunk({}, "stop"), chunk(None, usage=USAGE)))

    assert first == [b"data: " + plain + b"\n\n"]
    assert read == [({"content": ""}, "stop", USAGE)]


def test_usage_beside_the_last_choice_stays_there() -> None:
    read = said(told(relay(), chunk({"content": "a"}), chunk({}, "stop", usage=USAGE)))

    assert read == [({"content": "a"}, None, None), ({"content": ""}, "stop", USAGE)]


@pytest.mark.parametrize("more", [{}, {"usage": ZERO}], ids=["unsaid", "zero"])
def test_what_no_engine_counted_is_the_bill(more: JsonObject) -> None:
    streamed = said(told(relay(), chunk({"content": "a"}), chunk({}, "stop", **more)))
    whole = relay(stream=False)
    message = {"role": "assistant", "content": "a"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    fed = list(whole.feed(0, Event(orjson.dumps({**FRONT, "choices": [choice], **more}))))
    (reply,) = whole.close([OK])

    assert streamed[-1][2] == orjson.loads(reply)["usage"] == BILLED
    assert fed == []


@pytest.mark.parametrize("alone", [False, True], ids=["in the last choice's chunk", "behind it"])
@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": 3},
        {"prompt_tokens": "5"},
        {"total_tokens": 8},
        [1],
    ],
)
def test_what_is_no_count_is_not_shown_for_one(usage: Json, alone: bool) -> None:
    ends = [chunk({}, "stop"), chunk(None, usage=usage)] if alone else []
    streamed = said(
        told(relay(), chunk({"content": "a"}), *(ends or [chunk({}, "stop", usage=usage)]))
    )

    assert streamed[-1][2] == BILLED


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_part_of_the_content(name: str) -> None:
    part: JsonObject = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    pieces = chunk({name: "hm"}), chunk({name: "hm", "content": "Yes"}), chunk({}, "stop")
    whole = relay(stream=False)
    message = {"role": "assistant", "content": "Yes", name: "hm"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    tuple(whole.feed(0, Event(orjson.dumps({**FRONT, "choices": [choice], "usage": USAGE}))))
    (reply,) = whole.close([OK])

    text: JsonObject = {"type": "text", "text": "Yes"}
    deltas = [delta for delta, _, _ in said(told(relay(), *pieces))]
    assert deltas == [{"content": [part]}, {"content": [part, text]}, {"content": ""}]
    content = [{**part, "closed": True}, text]
    assert orjson.loads(reply)["choices"][0]["message"] == {"role": "assistant", "content": content}


def test_calls_of_a_whole_reply_are_numbered_and_end_it() -> None:
    whole = relay(stream=False)
    calls = [{key: value for key, value in each.items() if key != "index"} for each in CALLS]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    tuple(whole.feed(0, Event(orjson.dumps({**FRONT, "choices": [choice], "usage": USAGE}))))
    (reply,) = whole.close([OK])

    (made,) = orjson.loads(reply)["choices"]
    assert made["message"] == {"role": "assistant", "content": "", "tool_calls": CALLS}
    assert made["finish_reason"] == "tool_calls"


def test_of_several_choices_each_finishes_and_the_last_has_the_usage() -> None:
    events = [
        chunk({"content": "a"}),
        chunk(call(0, name="clock", arguments="{}"), index=1),
        chunk({}, "stop"),
        chunk({}, "tool_calls", index=1),
        chunk(None, usage=USAGE),
    ]
    read = told(relay(), *events)

    indexes = [choice["index"] for value in read for choice in value["choices"]]
    assert indexes == [0, 0, 1]
    assert [finish for _, finish, _ in said(read)] == [None, "stop", "tool_calls"]
    assert [value.get("usage") for value in read] == [None, None, USAGE]


def test_choices_of_several_calls_are_joined_first() -> None:
    fan = FanRelay(stream=True, include_usage=True, prompt=7, each=2)
    relaying = MistralRelay(fan)
    data: list[bytes] = []
    for index in (0, 1):
        for event in (chunk({"content": "a"}), chunk({}, "stop"), chunk(None, usage=USAGE)):
            data += relaying.feed(index, event)
    data += relaying.close([OK, OK])

    read = [orjson.loads(each[6:]) for each in data[:-1]]
    assert [choice["index"] for value in read for choice in value["choices"]] == [0, 0, 1, 1]
    assert read[-1]["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    "event",
    [
        b'{"choices":{},"usage":{}}',
        b'{"choices":[1],"usage":{}}',
        b'{"choices":[{"index":0,"delta":1,"finish_reason":"stop"}]}',
        b'{"choices":[{"delta":{},"finish_reason":"stop"}]}',
    ],
)
def test_what_is_no_chunk_is_the_engines_fault(event: bytes) -> None:
    with pytest.raises(BadReply):
        told(relay(), Event(event))


def test_half_a_call_at_the_end_is_no_reply() -> None:
    with pytest.raises(BadReply):
        told(relay(), *TOOLS)


def test_no_chunk_but_the_last_names_usage() -> None:
    texts = [chunk({"content": text}) for text in ("a", "b", "c", "d")]
    read = told(relay(), *texts, chunk({}, "stop"), chunk(None, usage=USAGE))

    assert ["usage" in value for value in read] == [False] * 4 + [True]


def test_the_bill_is_the_chats_at_any_cut() -> None:
    events = [*TOOLS, chunk({}, "stop"), chunk(None, usage=USAGE)]
    worded, bare = relay(), ChatRelay(stream=True, include_usage=True, prompt=7)
    for event in events:
        tuple(worded.feed(0, event))
        tuple(bare.feed(0, Event(event.data)))

        assert worded.usage([]) == bare.usage([])


def read(**members: Json) -> tuple[JsonObject, JsonObject]:
    """A body as a chat: what was parsed of it, and what an engine gets."""
    written: JsonObject = {"messages": [USER], **members}
    body = Body.of(**written)
    chat = as_chat(
        Request(
            id="req_1",
            path="/v1/chat/completions",
            model=Model(name="m", modality="llm"),
            asked="m",
            body=body,
            surface=built_in()["mistral"],
            parsed=orjson.loads(orjson.dumps(written)),
        )
    )
    sent = {name: orjson.loads(value) for name, value in chat.body.members().items()}
    return chat.parsed, sent


def test_what_an_assistant_thought_and_called_is_read_as_engines_have_it() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}
    older = {"type": "thinking", "thinking": "so"}
    function = {"name": "f", "arguments": {"a": 1}}
    calls = [{"id": "x", "function": function, "index": 0}]
    turn = {"role": "assistant", "content": [thought, older, {"type": "text", "text": "Yes"}]}
    parsed, sent = read(
        messages=[USER, {**turn, "prefix": False}, {"role": "assistant", "tool_calls": calls}]
    )

    made = {"role": "assistant", "content": "Yes", "reasoning_content": "hm\nso"}
    written = [{**calls[0], "function": {"name": "f", "arguments": '{"a":1}'}}]
    assert sent["messages"] == [USER, made, {"role": "assistant", "tool_calls": written}]
    assert parsed["messages"] == sent["messages"]


def test_usage_is_asked_for_of_streams_only() -> None:
    assert read(stream=True)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in read(stream=False)[1]


@pytest.mark.parametrize(
    ("name", "value"), [("safe_prompt", True), ("prompt_mode", "reasoning"), ("guardrails", [{}])]
)
def test_what_only_mistrals_server_adds_is_refused_and_left_out_where_it_is_not_wanted(
    name: str, value: Json
) -> None:
    with pytest.raises(Refused) as caught:
        read(**{name: value})

    assert caught.value.field == name
    assert all(name not in each for each in read(**{name: None}))


def test_an_answer_that_must_begin_with_a_text_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        read(messages=[USER, {"role": "assistant", "content": "Yes", "prefix": True}])

    assert caught.value.field == "messages[1].prefix"


@pytest.mark.parametrize("wrong", [None, 1, "x", [1], [{"role": "assistant", "tool_calls": [1]}]])
def test_what_is_no_message_is_left_to_the_chat(wrong: Json) -> None:
    assert read(messages=wrong)[0]["messages"] == wrong
