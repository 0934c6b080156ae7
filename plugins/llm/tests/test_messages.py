"""`/v1/messages`: a conversation as a chat, and the chat's reply as a message."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from conversing import USAGE, begun, chunk, planned, played, sent, whole

from modgate.kit.converse.messages import Messages
from modgate.kit.sse import Splitter
from modgate.plugin import Fields, JsonObject, Refused, Sample, UpstreamFailed
from modgate.testing import Rig
from modgate_llm.config import Config
from modgate_llm.modality import Llm

PATH = "/v1/messages"
ASKED: JsonObject = {
    "model": "m",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi?"}],
}
A4 = (Path(__file__).parent / "streams" / "messages.sse").read_bytes()  # wire.md A4
HI = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
)
CALL: JsonObject = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": 1}'},
}
LOOK: JsonObject = {"name": "look", "input_schema": {"type": "object"}}


def test_a_stream_is_the_transcript_of_the_wire_byte_for_byte(tmp_path: Path) -> None:
    first = chunk({"role": "assistant", "content": ""}, usage={**USAGE, "completion_tokens": 0})
    told = played(tmp_path, PATH, {**ASKED, "stream": True}, first, *HI[1:])

    assert told.reply.replace(b"msg_" + b"0" * 32, b"msg_1") == A4
    assert dict(told.usage.units) == {"input_tokens": 9, "output_tokens": 1}


def test_a_prompt_that_was_not_counted_at_the_start_is_told_at_the_end(tmp_path: Path) -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    told = played(tmp_path, PATH, {**ASKED, "stream": True}, *HI[:-1], chunk(None, usage=usage))
    events = [orjson.loads(event.data) for event in Splitter().feed(told.reply)]

    assert events[0]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert events[-2]["usage"] == {
        "input_tokens": 5,
        "output_tokens": 1,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 0,
    }
    assert all(event.name for event in Splitter().feed(told.reply))


@pytest.mark.parametrize(
    ("finish", "more", "reason", "stop"),
    [
        ("stop", {}, "end_turn", None),
        ("length", {}, "max_tokens", None),
        ("tool_calls", {}, "tool_use", None),
        ("content_filter", {}, "refusal", None),
        ("stop", {"stop_reason": "END"}, "stop_sequence", "END"),
        ("stop", {"stop_reason": "<|eot|>"}, "end_turn", None),
        ("stop", {"stop_reason": 128001}, "end_turn", None),
    ],
)
def test_a_message_says_why_it_stopped(
    tmp_path: Path, finish: str, more: JsonObject, reason: str, stop: str | None
) -> None:
    body = {**ASKED, "stop_sequences": ["END", "FIN"]}
    told = played(tmp_path, PATH, body, whole({"content": "a"}, finish, **more))
    message = orjson.loads(told.reply)

    assert (message["stop_reason"], message["stop_sequence"]) == (reason, stop)


def test_a_call_that_was_forced_is_why_a_message_stopped(tmp_path: Path) -> None:
    """Source: vLLM's finish reason of a named `tool_choice` is `stop` (wire.md 2.1)."""
    choice = {"tool_choice": {"type": "tool", "name": "look"}}
    body = {**ASKED, "tools": [LOOK], **choice}
    told = played(tmp_path, PATH, body, whole({"content": None, "tool_calls": [CALL]}, "stop"))
    call = chunk({"role": "assistant", "tool_calls": [{"index": 0, **CALL}]})
    streamed = played(tmp_path, PATH, {**body, "stream": True}, call, *HI[2:])
    events = [orjson.loads(event.data) for event in Splitter().feed(streamed.reply)]

    assert orjson.loads(told.reply)["stop_reason"] == "tool_use"
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


def test_edits_of_the_context_are_not_made_and_the_reply_says_so(tmp_path: Path) -> None:
    """Claude Code sends some with each request."""
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    body = {**ASKED, "context_management": edits}
    told = orjson.loads(played(tmp_path, PATH, body, whole({"content": "a"}, "stop")).reply)
    streamed = played(tmp_path, PATH, {**body, "stream": True}, *HI)
    events = [orjson.loads(event.data) for event in Splitter().feed(streamed.reply)]

    assert "context_management" not in sent(tmp_path, PATH, body)
    assert told["context_management"] == events[-2]["context_management"] == {"applied_edits": []}


def test_arguments_that_are_nested_too_deeply_are_refused_where_they_stand() -> None:
    given: JsonObject = {}
    for _ in range(300):
        given = {"a": given}
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": given}
    said = {"role": "assistant", "content": [call]}

    with pytest.raises(Refused) as caught:
        Messages().read(Fields({**ASKED, "messages": [said]}), counting=False)

    assert caught.value.field == "messages[0].content[0].input"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"system": 5}, "system"),
        ({"system": {"type": "text", "text": "a"}}, "system"),
    ],
)
def test_what_is_of_no_known_kind_is_named(tmp_path: Path, changed: JsonObject, field: str) -> None:
    with pytest.raises(Refused) as caught:
        planned(tmp_path, PATH, {**ASKED, **changed})

    assert caught.value.field == field


def test_a_refusal_is_a_text_and_says_that_it_is_one(tmp_path: Path) -> None:
    told = played(tmp_path, PATH, ASKED, whole({"content": None, "refusal": "I must not."}))
    message = orjson.loads(told.reply)

    assert message["content"] == [{"type": "text", "text": "I must not."}]
    assert message["stop_reason"] == "refusal"


def test_thoughts_text_and_calls_are_blocks(tmp_path: Path) -> None:
    said = {"content": "Wait.", "reasoning_content": "Hm.", "tool_calls": [CALL]}
    told = played(tmp_path, PATH, ASKED, whole(said, "tool_calls"))

    assert orjson.loads(told.reply)["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "Wait."},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": 1}},
    ]


def test_a_conversation_with_tools_becomes_a_chat(tmp_path: Path) -> None:
    result = [
        {"type": "text", "text": "rain"},
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
    ]
    body = {
        "model": "m",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Look.", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                    {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "And?"},
                    {"type": "tool_result", "tool_use_id": "t1", "content": "sun"},
                    {"type": "tool_result", "tool_use_id": "t2", "content": [result[0]]},
                ],
            },
        ],
        "tools": [{**LOOK, "description": "d", "cache_control": {"type": "ephemeral"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "top_k": 5,
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "inference_geo": "global",
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
    }

    assert sent(tmp_path, PATH, body) == {
        "model": "m",
        "max_tokens": 50,
        "top_k": 5,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Look.",
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"at":1}'},
                    },
                    {
                        "id": "t2",
                        "type": "function",
                        "function": {"name": "look", "arguments": "{}"},
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "sun"},
            {"role": "tool", "tool_call_id": "t2", "content": "rain"},
            {"role": "user", "content": "And?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "description": "d", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stop": ["END"],
        "reasoning_effort": "high",
    }


def test_a_schema_and_a_named_tool(tmp_path: Path) -> None:
    schema = {"type": "object"}
    body = {
        **ASKED,
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "tools": [LOOK],
        "tool_choice": {"type": "tool", "name": "look"},
    }
    chat = sent(tmp_path, PATH, body)

    made = {"name": "output", "schema": schema, "strict": True}
    assert chat["response_format"] == {"type": "json_schema", "json_schema": made}
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "look"}}


def test_members_of_a_chat_do_not_reach_it_by_chance(tmp_path: Path) -> None:
    body = {**ASKED, "n": 5, "functions": [{"name": "f"}], "stream_options": {}, "stop": "x"}
    body |= {"fallbacks": "default", "fallback_credit_token": "secret", "speed": "fast"}

    assert sent(tmp_path, PATH, body).keys() == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("changed", "field", "told"),
    [
        ({"max_tokens": None}, "max_tokens", "Field required"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": 10**12}, "max_tokens", "at most"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "one of"),
        ({"temperature": 1.5}, "temperature", "at most 1"),
        ({"stop_sequences": ["a", ""]}, "stop_sequences", "not empty"),
        ({"stop_sequences": ["a"] * 1025}, "stop_sequences", "at most 1024"),
        ({"container": "c"}, "container", "not supported"),
        ({"inference_geo": "us"}, "inference_geo", "cannot be chosen"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers", "not supported"),
        ({"compaction": {"type": "enabled"}}, "compaction", "not supported"),
        ({"thread": {"type": "create"}}, "thread", "without it"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools[0].type", "only tools"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0]", "1 to 64"),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "needs 'tools'"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking.budget_tokens", "1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "max_tokens", "greater"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: JsonObject, field: str, told: str) -> None:
    with pytest.raises(Refused, match=told) as caught:
        planned(tmp_path, PATH, {**ASKED, **changed})

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "video"}, "messages[0].content[1].type"),
        ({"type": "image", "source": {"type": "file"}}, "messages[0].content[1].source.type"),
        ({"type": "document", "source": {"type": "url"}}, "messages[0].content[1].source.type"),
        ({"type": "tool_result", "content": "x"}, "messages[0].content[1].tool_use_id"),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": "x"},
            "messages[0].content[1].tool_use_id",
        ),
    ],
    ids=["video", "file", "document", "result", "result of no call"],
)
def test_a_block_that_cannot_be_passed_on_is_named(
    tmp_path: Path, block: JsonObject, field: str
) -> None:
    said = {"role": "user", "content": [{"type": "text", "text": "a"}, block]}
    with pytest.raises(Refused) as caught:
        planned(tmp_path, PATH, {**ASKED, "messages": [said]})

    assert caught.value.field == field


@pytest.mark.parametrize("said", ["", "Sun."])
def test_a_thought_that_is_not_told_is_none_in_the_chat(tmp_path: Path, said: str) -> None:
    """Source: Anthropic's documentation of extended thinking, `display` "omitted"."""
    sealed = [{"type": "thinking", "thinking": "", "signature": "s"}] * 2
    text = [{"type": "text", "text": said}] if said else []
    asked = [*ASKED["messages"], {"role": "assistant", "content": [*sealed, *text]}]
    told = sent(tmp_path, PATH, {**ASKED, "messages": asked})["messages"]

    assert told[-1] == {"role": "assistant", "content": said}


def test_more_stop_sequences_than_a_chat_may_have_reach_the_engine(tmp_path: Path) -> None:
    stops = [f"END{number}" for number in range(9)]

    assert sent(tmp_path, PATH, {**ASKED, "stop_sequences": stops})["stop"] == stops


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}], ids=str)
def test_a_forced_tool_is_refused_where_the_model_calls_none(
    tmp_path: Path, choice: JsonObject
) -> None:
    body = {**ASKED, "tools": [LOOK], "tool_choice": choice}
    sample = Sample(path=PATH, json=body, facts={"tools": False})
    with (
        Rig(Llm(Config()), tmp_path) as rig,
        pytest.raises(Refused, match="cannot call tools") as caught,
    ):
        rig.plan(sample)

    assert caught.value.field == "tool_choice"


def test_tools_that_a_model_makes_nothing_of_are_told_in_a_header(tmp_path: Path) -> None:
    body = {**ASKED, "tools": [LOOK], "tool_choice": {"type": "auto"}}
    with Rig(Llm(Config()), tmp_path) as rig:
        plan = rig.plan(Sample(path=PATH, json=body, facts={"tools": False}))
        offered = rig.plan(Sample(path=PATH, json=body))

    assert isinstance(plan.calls, tuple)
    assert not {"tools", "tool_choice"} & set(plan.calls[0].body.members())
    assert plan.relay.head.headers == {"x-modgate-ignored": "tools"}
    assert offered.relay.head.headers == {}


def test_an_error_of_the_chat_names_the_clients_own_place(tmp_path: Path) -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [picture]}
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    body = {
        **ASKED,
        "system": "Be brief.",
        "messages": [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
    }
    with pytest.raises(Refused, match="takes no images") as caught:
        planned(tmp_path, PATH, body)

    assert caught.value.field == "messages[1].content[0].content[0]"


def test_an_engine_that_gives_up_inside_a_stream_ends_it_in_failure(tmp_path: Path) -> None:
    with pytest.raises(UpstreamFailed):
        begun(tmp_path, PATH, {**ASKED, "stream": True}, *HI[:2], chunk({}, "error"))


def test_the_surface_ends_a_stream_that_failed(tmp_path: Path) -> None:
    relay = begun(tmp_path, PATH, {**ASKED, "stream": True}, *HI[:2])

    assert relay.fail(UpstreamFailed("lost")) is None
    assert dict(relay.usage(()).units) == {"output_tokens": 1}
