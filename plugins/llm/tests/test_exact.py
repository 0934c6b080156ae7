"""Numbers wider than 64 bits in what another API calls a chat: engines get the client's digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modgate.plugin import Body, JsonObject, Sample
from modgate.testing import Rig
from modgate_llm.config import Config
from modgate_llm.modality import Llm

WIDE = 123456789012345678901234567890
SCHEMA: JsonObject = {"type": "object", "properties": {"id": {"maximum": WIDE}}}
FORM: JsonObject = {"type": "json_schema", "schema": SCHEMA}
USER: JsonObject = {"role": "user", "content": "Hi?"}
MESSAGES: JsonObject = {"model": "m", "max_tokens": 9, "messages": [USER]}
RESPONSES: JsonObject = {"model": "m", "input": "Hi?"}


def sent(folder: Path, path: str, body: JsonObject) -> JsonObject:
    """The chat that an engine is sent, every digit of it."""
    with Rig(Llm(Config()), folder) as rig:
        asked = rig.request(Sample(path=path, json=body), Body.json(json.dumps(body).encode()))
        plan = rig.shape(asked, lambda step, need: None)
    assert isinstance(plan.calls, tuple)
    content = plan.calls[0].body.content
    assert isinstance(content, bytes)
    made: JsonObject = json.loads(content)
    return made


def test_what_a_model_called_keeps_its_digits(tmp_path: Path) -> None:
    given = {"id": WIDE, "at": [0.1, {"less": -WIDE}]}
    small = {"id": 1, "name": "1e+10"}
    called = [
        {"type": "text", "text": "Well"},
        {"type": "tool_use", "id": "t1", "name": "look", "input": given},
        {"type": "tool_use", "id": "t2", "name": "look", "input": small},
    ]
    answers = [
        {"type": "tool_result", "tool_use_id": name, "content": "x"} for name in ("t1", "t2")
    ]
    turns = [USER, {"role": "assistant", "content": called}, {"role": "user", "content": answers}]

    chat = sent(tmp_path, "/v1/messages", {**MESSAGES, "messages": turns})

    calls = [call["function"]["arguments"] for call in chat["messages"][1]["tool_calls"]]
    assert [json.loads(arguments) for arguments in calls] == [given, small]


def test_what_a_tool_found_keeps_its_digits(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    found = [
        {"type": "text", "text": "Two:"},
        {"type": "document", "document": {"data": {"id": WIDE}}},
        {"type": "document", "document": {"data": {"id": 1, "name": "1e+10"}}},
    ]
    turns = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": found},
    ]

    chat = sent(tmp_path, "/v2/chat", {"model": "m", "messages": turns})
    text, *documents = chat["messages"][2]["content"].split("\n")

    assert text == "Two:"
    assert [json.loads(each) for each in documents] == [{"id": WIDE}, {"id": 1, "name": "1e+10"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {**MESSAGES, "tools": [{"name": "f", "input_schema": SCHEMA}]}),
        (
            "/v1/responses",
            {**RESPONSES, "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
        ),
        ("/v2/chat", {**MESSAGES, "tools": [{"function": {"name": "f", "parameters": SCHEMA}}]}),
    ],
)
def test_the_schema_of_a_function_keeps_its_digits(
    tmp_path: Path, path: str, body: JsonObject
) -> None:
    [tool] = sent(tmp_path, path, body)["tools"]

    assert tool == {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {**MESSAGES, "output_config": {"format": FORM}}),
        ("/v1/messages", {**MESSAGES, "output_format": FORM}),
        ("/v1/responses", {**RESPONSES, "text": {"format": {**FORM, "name": "f"}}}),
        ("/v2/chat", {**MESSAGES, "response_format": {"type": "json_object", "schema": SCHEMA}}),
    ],
)
def test_the_schema_of_an_answer_keeps_its_digits(
    tmp_path: Path, path: str, body: JsonObject
) -> None:
    wanted = sent(tmp_path, path, body)["response_format"]

    assert wanted["json_schema"]["schema"] == SCHEMA
