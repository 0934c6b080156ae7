"""`/v2/chat`: what of a conversation becomes a chat, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from conversing import planned, sent

from modgate.kit.converse.cohere import Cohere
from modgate.plugin import Fields, JsonObject, Refused

PATH = "/v2/chat"
ASKED: JsonObject = {"model": "m", "messages": [{"role": "user", "content": "Hi?"}]}
LOOK: JsonObject = {"type": "function", "function": {"name": "look", "parameters": {}}}
CALL: JsonObject = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": 1}'},
}


def test_a_conversation_with_tools_becomes_a_chat(tmp_path: Path) -> None:
    document = {"type": "document", "document": {"id": "d", "data": {"sky": "grey", "mm": 3}}}
    packed = {"type": "document", "document": {"data": '{"sky": "blue"}'}}
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "tool_plan": "I look.",
                "tool_calls": [CALL, {**CALL, "id": "call_2"}],
                "content": [{"type": "thinking", "thinking": "Hm."}],
                "citations": [],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {"role": "tool", "tool_call_id": "call_2", "content": [document, packed]},
            {"role": "assistant", "content": "Rain."},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [{"type": "function", "function": {**LOOK["function"], "description": "d"}}],
        "strict_tools": True,
        "tool_choice": "REQUIRED",
        "max_tokens": 50,
        "temperature": 0.3,
        "p": 0.75,
        "k": 40,
        "seed": 7,
        "frequency_penalty": 0.5,
        "stop_sequences": ["END"],
        "thinking": {"type": "disabled"},
        "safety_mode": "CONTEXTUAL",
        "citation_options": {"mode": "OFF"},
        "documents": [],
        "logprobs": False,
        "priority": 3,
    }

    assert sent(tmp_path, PATH, body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Hm.",
                "tool_calls": [CALL, {**CALL, "id": "call_2"}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {
                "role": "tool",
                "tool_call_id": "call_2",
                "content": '{"sky":"grey","mm":3}\n{"sky": "blue"}',
            },
            {"role": "assistant", "content": "Rain."},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {**LOOK["function"], "description": "d", "strict": True},
            }
        ],
        "tool_choice": "required",
        "max_tokens": 50,
        "temperature": 0.3,
        "top_p": 0.75,
        "top_k": 40,
        "seed": 7,
        "frequency_penalty": 0.5,
        "stop": ["END"],
        "reasoning_effort": "none",
    }


@pytest.mark.parametrize("name", ["json_schema", "schema"])
def test_an_answer_has_the_form_that_is_asked_for(tmp_path: Path, name: str) -> None:
    schema = {"type": "object"}
    body = {**ASKED, "response_format": {"type": "json_object", name: schema}}

    made = {"name": "output", "schema": schema, "strict": True}
    assert sent(tmp_path, PATH, body)["response_format"] == {
        "type": "json_schema",
        "json_schema": made,
    }


def test_without_a_schema_any_json_will_do_and_text_is_no_form(tmp_path: Path) -> None:
    plain = {**ASKED, "response_format": {"type": "json_object"}}
    text = {**ASKED, "response_format": {"type": "text"}}

    assert sent(tmp_path, PATH, plain)["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent(tmp_path, PATH, text)


def test_members_of_a_chat_do_not_reach_it_by_chance_and_no_k_is_no_bound(tmp_path: Path) -> None:
    body = {**ASKED, "n": 5, "functions": [{"name": "f"}], "stop": "x", "k": 0}

    assert sent(tmp_path, PATH, body).keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("changed", "field", "told"),
    [
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "messages[0].role", "one of"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content", "'tool_calls'"),
        ({"messages": [{"role": "assistant", "content": []}]}, "messages[0].content", "required"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"p": 1.5}, "p", "at most 1"),
        ({"k": 501}, "k", "at most 500"),
        ({"temperature": -1}, "temperature", "at least 0"),
        ({"stop_sequences": ["a"] * 6}, "stop_sequences", "at most 5"),
        ({"stop_sequences": [""]}, "stop_sequences", "not empty"),
        ({"documents": ["a fact"]}, "documents", "not supported"),
        ({"logprobs": True}, "logprobs", "ask /v1/chat/completions"),
        ({"safety_mode": "STRICT"}, "safety_mode", "not supported"),
        ({"safety_mode": "LAX"}, "safety_mode", "one of"),
        ({"citation_options": {"mode": "FAST"}}, "citation_options.mode", "nothing is cited"),
        ({"thinking": {"type": "deep"}}, "thinking.type", "one of"),
        (
            {"thinking": {"type": "enabled", "token_budget": 9}},
            "thinking.token_budget",
            "not supported",
        ),
        ({"tool_choice": "AUTO"}, "tool_choice", "one of"),
        ({"tool_choice": "REQUIRED"}, "tool_choice", "needs 'tools'"),
        ({"tools": [{"type": "web"}]}, "tools[0].type", "one of"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "required"),
        ({"tools": [{"function": {"name": "a b"}}]}, "tools[0]", "1 to 64"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "one of"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: JsonObject, field: str, told: str) -> None:
    with pytest.raises(Refused, match=told) as caught:
        planned(tmp_path, PATH, {**ASKED, **changed})

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user", "content": [{"type": "document"}]}, "messages[1].content[0].type"),
        ({"role": "system", "content": [{"type": "image_url"}]}, "messages[1].content[0].type"),
        ({"role": "tool", "content": "x"}, "messages[1].tool_call_id"),
        ({"role": "tool", "tool_call_id": "c", "content": "x"}, "messages[1].tool_call_id"),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "type": "web"}]},
            "messages[1].tool_calls[0].type",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]},
            "messages[1].content[0]",
        ),
    ],
    ids=["document", "picture", "answer", "answer of no call", "web", "picture to the blind"],
)
def test_a_message_that_cannot_be_passed_on_is_named(
    tmp_path: Path, message: JsonObject, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        planned(tmp_path, PATH, {**ASKED, "messages": [*ASKED["messages"], message]})

    assert caught.value.field == field


def test_what_a_tool_found_is_refused_where_it_stands_if_it_is_nested_too_deeply() -> None:
    data: JsonObject = {}
    for _ in range(300):
        data = {"a": data}
    said = [
        {"role": "assistant", "tool_calls": [CALL]},
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": [{"type": "document", "document": {"data": data}}],
        },
    ]
    with pytest.raises(Refused) as caught:
        Cohere().read(Fields({**ASKED, "messages": said}), counting=False)

    assert caught.value.field == "messages[1].content[0].document.data"
