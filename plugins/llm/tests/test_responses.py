"""`/v1/responses`: a conversation as a chat, and the chat's reply as items and events."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from conversing import USAGE, begun, chunk, planned, played, sent, whole

from modgate.kit.sse import Splitter
from modgate.plugin import BadReply, GatewayError, JsonObject, Overloaded, Refused, UpstreamFailed

PATH = "/v1/responses"
ASKED: JsonObject = {"model": "m", "input": "Hi?"}
STREAMED: JsonObject = {**ASKED, "stream": True}
HI = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
)
MESSAGE: JsonObject = {"id": "msg_1", "type": "message", "role": "assistant"}
PART: JsonObject = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
PLACE: JsonObject = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
DONE: JsonObject = {**MESSAGE, "status": "completed", "content": [PART]}
# wire.md A5, between the two first events and the last.
A5: list[JsonObject] = [
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**MESSAGE, "status": "in_progress", "content": []},
    },
    {"type": "response.content_part.added", **PLACE, "part": {**PART, "text": ""}},
    {"type": "response.output_text.delta", **PLACE, "delta": "Hi", "logprobs": []},
    {"type": "response.output_text.done", **PLACE, "text": "Hi", "logprobs": []},
    {"type": "response.content_part.done", **PLACE, "part": PART},
    {"type": "response.output_item.done", "output_index": 0, "item": DONE},
]
LOOK: JsonObject = {"type": "function", "name": "look", "parameters": {"type": "object"}}
CALL: JsonObject = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": 1}'},
}
CALLS = (
    chunk({"role": "assistant", "reasoning_content": "Hm."}),
    chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "look", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
)
CHAT: JsonObject = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi?"}],
    "stream": True,
}


def events(data: bytes) -> list[JsonObject]:
    """The events, whose names are their types and whose numbers go up by one, without those."""
    found = []
    for number, event in enumerate(Splitter().feed(data)):
        value = orjson.loads(event.data.replace(b"msg_" + b"0" * 34, b"msg_1"))
        assert event.name == value["type"]
        assert value.pop("sequence_number") == number
        found.append(value)
    return found


def test_a_stream_is_the_transcript_of_the_wire(tmp_path: Path) -> None:
    told = played(tmp_path, PATH, STREAMED, *HI)
    created, progress, *middle, completed = events(told.reply)

    assert [created["type"], progress["type"]] == ["response.created", "response.in_progress"]
    assert created["response"] == progress["response"]
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["output"] == []
    assert middle == A5
    assert completed["type"] == "response.completed"
    assert completed["response"]["output"] == [DONE]
    assert completed["response"]["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10,
    }
    assert dict(told.usage.units) == {"input_tokens": 9, "output_tokens": 1}


def test_a_whole_response_is_what_its_stream_completes_with(tmp_path: Path) -> None:
    streamed = events(played(tmp_path, PATH, STREAMED, *HI).reply)[-1]["response"]
    told = played(tmp_path, PATH, ASKED, whole({"role": "assistant", "content": "Hi"}))
    response = orjson.loads(told.reply.replace(b"msg_" + b"0" * 34, b"msg_1"))

    assert response == streamed
    assert response["id"] == "resp_" + "0" * 32
    assert response["store"] is False


@pytest.mark.parametrize("asked", [ASKED, STREAMED], ids=["whole", "streamed"])
def test_it_was_created_when_its_request_came_whatever_an_engine_says(
    asked: JsonObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.testing.rig.REQUEST_ID", f"req_{1_767_225_600_999:012x}7{0:019}")
    said = HI if asked is STREAMED else (whole({"role": "assistant", "content": "Hi"}),)
    told = played(tmp_path, PATH, asked, *said).reply

    assert set(re.findall(rb'"created_at":(\d+)', told)) == {b"1767225600"}


def test_thoughts_text_and_calls_are_items(tmp_path: Path) -> None:
    said = {"content": "Wait.", "reasoning_content": "Hm.", "tool_calls": [CALL]}
    response = orjson.loads(played(tmp_path, PATH, ASKED, whole(said, "tool_calls")).reply)
    reasoning, message, call = response["output"]

    assert response["status"] == "completed"
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert (reasoning["type"], reasoning["summary"]) == ("reasoning", [])
    assert message["content"][0]["text"] == "Wait."
    del call["id"]
    assert call == {
        "type": "function_call",
        "call_id": "call_1",
        "name": "look",
        "arguments": '{"at": 1}',
        "status": "completed",
    }


def test_calls_and_thoughts_have_events_of_their_own(tmp_path: Path) -> None:
    told = played(tmp_path, PATH, STREAMED, *CALLS)
    found = events(told.reply)

    assert [event["type"].removeprefix("response.") for event in found] == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done"),
        *("output_item.done", "completed"),
    ]
    assert found[10]["arguments"] == "{}"
    assert found[10]["name"] == "look"
    assert [found[2]["output_index"], found[8]["output_index"]] == [0, 1]
    assert found[-1]["response"]["output"] == [found[7]["item"], found[11]["item"]]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_reply_that_was_cut_is_incomplete(tmp_path: Path, finish: str, reason: str) -> None:
    stream = played(tmp_path, PATH, STREAMED, *HI[:2], chunk({}, finish), HI[3])
    *_, item, last = events(stream.reply)

    assert item["item"]["status"] == "incomplete"
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}


def test_a_refusal_is_a_part_of_its_own(tmp_path: Path) -> None:
    said = whole({"content": None, "refusal": "I must not."})
    response = orjson.loads(played(tmp_path, PATH, ASKED, said).reply)

    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "I must not."}]


def test_a_stream_that_fails_says_so_in_two_events(tmp_path: Path) -> None:
    relay = begun(tmp_path, PATH, STREAMED, *HI[:2])
    said = relay.fail(UpstreamFailed("Upstream connection lost."))
    assert said is not None
    failed, error = (Splitter().feed(each)[0] for each in said)

    response = orjson.loads(failed.data)["response"]
    assert failed.name == "response.failed"
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "Upstream connection lost."}
    assert orjson.loads(error.data) == {
        "type": "error",
        "sequence_number": 6,
        "code": "upstream_error",
        "message": "Upstream connection lost.",
        "param": None,
        "error": {
            "type": "server_error",
            "code": "upstream_error",
            "message": "Upstream connection lost.",
            "param": None,
        },
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Overloaded("busy"), "rate_limit_exceeded"),
        (Refused("messages", "invalid_value", "no"), "invalid_prompt"),
        (Refused("messages", "image_too_large", "no"), "image_too_large"),
        (Refused("messages", "context_length_exceeded", "no"), "context_length_exceeded"),
        (BadReply("no"), "server_error"),
    ],
)
def test_a_failed_response_has_a_code_of_openais_and_the_error_its_own(
    tmp_path: Path, error: GatewayError, code: str
) -> None:
    [failed, said] = begun(tmp_path, PATH, STREAMED, *HI[:2]).fail(error) or ()

    told = orjson.loads(Splitter().feed(failed)[0].data)["response"]["error"]
    assert told["code"] == code
    assert orjson.loads(Splitter().feed(said)[0].data)["code"] == error.code


def test_a_conversation_with_tools_becomes_a_chat(tmp_path: Path) -> None:
    body = {
        "model": "m",
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "input": [
            {"role": "developer", "content": "In German."},
            {"type": "message", "role": "user", "content": "Weather?"},
            {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"},
            {
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Look."}],
            },
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'},
            {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sun"},
            {
                "type": "function_call_output",
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "rain"}],
            },
        ],
        "tools": [{**LOOK, "strict": True}],
        "tool_choice": {"type": "function", "name": "look"},
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "w", "schema": {}, "strict": True},
            "verbosity": "low",
        },
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "store": True,
        "include": ["reasoning.encrypted_content"],
        "min_p": 0.1,
    }
    functions = ({"name": "look", "arguments": text} for text in ('{"at": 1}', "{}"))

    assert sent(tmp_path, PATH, body) == {
        "model": "m",
        "max_tokens": 50,
        "temperature": 0.5,
        "min_p": 0.1,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "In German."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Look.",
                "tool_calls": [
                    {"id": f"c{n}", "type": "function", "function": function}
                    for n, function in enumerate(functions, 1)
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "sun"},
            {"role": "tool", "tool_call_id": "c2", "content": "rain"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "parameters": {"type": "object"}, "strict": True},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": True,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "w", "schema": {}, "strict": True},
        },
    }


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"truncation": "auto"}, "truncation"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [LOOK], "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ""}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": {"effort": "wild"}}, "reasoning.effort"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "input[0].call_id",
        ),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": {"b": "c"}}}, "metadata.a"),
        ({"metadata": {"a": None}}, "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"k" * 65: "x"}}, "metadata"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_done_is_named(tmp_path: Path, changed: JsonObject, field: str) -> None:
    with pytest.raises(Refused) as caught:
        planned(tmp_path, PATH, {**ASKED, **changed})

    assert caught.value.field == field


def test_an_image_to_a_model_without_eyes_is_named_where_the_client_put_it(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://a/b.png"}]},
    ]
    with pytest.raises(Refused, match="takes no images") as caught:
        planned(tmp_path, PATH, {**ASKED, "instructions": "x", "input": said})

    assert caught.value.field == "input[1].content[0]"


@pytest.mark.parametrize("upstream", [HI, CALLS], ids=["text", "thoughts and calls"])
@pytest.mark.parametrize(
    ("path", "body"),
    [(PATH, STREAMED), ("/v1/messages", {**CHAT, "max_tokens": 50})],
    ids=["responses", "messages"],
)
def test_the_bill_of_a_stream_is_that_of_its_chat_at_any_cut(
    tmp_path: Path, upstream: tuple[bytes, ...], path: str, body: JsonObject
) -> None:
    ours = played(tmp_path, path, body, *upstream).usages
    chats = played(tmp_path, "/v1/chat/completions", CHAT, *upstream).usages

    assert len(ours) == len(upstream) + 1
    assert [(dict(u.units), u.exact, u.by) for u in ours] == [
        (dict(u.units), u.exact, u.by) for u in chats
    ]


def test_an_item_by_reference_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Source: @ai-sdk/openai 3, which refers to items of earlier steps unless told otherwise."""
    body = {**ASKED, "input": [{"type": "item_reference", "id": "msg_1"}]}
    with pytest.raises(Refused, match="store to false"):
        planned(tmp_path, PATH, body)


def test_what_codex_sends_reaches_no_engine_or_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Source: codex 0.171, which has tools of the server and of namespaces by default."""
    body = {
        **ASKED,
        "client_metadata": {"turn_id": "1"},
        "include": ["reasoning.encrypted_content"],
    }
    searching = {**body, "tools": [LOOK, {"type": "web_search"}]}

    assert not {"client_metadata", "include"} & sent(tmp_path, PATH, body).keys()
    with pytest.raises(Refused, match="set web_search to") as caught:
        planned(tmp_path, PATH, searching)
    assert caught.value.field == "tools[1].type"
