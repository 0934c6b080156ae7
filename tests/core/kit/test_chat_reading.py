"""What a chat or completions body may say, and who is told what is wrong."""

from __future__ import annotations

import pytest

from modgate.errors import GatewayError, Refused
from modgate.kit.chat import MEMBERS_AT_MOST, UNSAFE, Chat, no_tools, read_chat, read_completion
from modgate.plugin import Fields, Json, JsonObject


def deep(levels: int) -> JsonObject:
    """An object in an object, so many times."""
    made: JsonObject = {}
    for _ in range(levels):
        made = {"a": made}
    return made


USER: JsonObject = {"role": "user", "content": "Say hi."}
TOOL: JsonObject = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL: JsonObject = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DEEP: JsonObject = {"type": "function", "function": {"name": "f", "parameters": deep(300)}}
CALLED: JsonObject = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def chat(**changed: Json) -> Chat:
    return read_chat(Fields({"messages": [USER], **changed}))


def said(message: JsonObject) -> JsonObject:
    return {"messages": [message]}


def part(**of_part: Json) -> JsonObject:
    return said({"role": "user", "content": [of_part]})


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        (said({"role": "robot", "content": "x"}), "messages[0].role", "invalid_value"),
        (said({"role": "user"}), "messages[0].content", "missing_required_parameter"),
        (said({"role": "assistant"}), "messages[0].content", "missing_required_parameter"),
        (said({"role": "user", "content": 7}), "messages[0].content", "invalid_type"),
        (
            said({"role": "tool", "content": "x"}),
            "messages[0].tool_call_id",
            "missing_required_parameter",
        ),
        (
            said({"role": "function", "content": "x"}),
            "messages[0].name",
            "missing_required_parameter",
        ),
        (
            said({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}),
            "messages[0].tool_calls[0].id",
            "missing_required_parameter",
        ),
        (
            said({"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}),
            "messages[0].tool_calls[0].type",
            "unsupported_value",
        ),
        (
            {"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "c1"}]},
            "messages[1].tool_call_id",
            "invalid_value",
        ),
        (
            {"messages": [CALLED, {"role": "tool", "content": "x", "tool_call_id": "c2"}]},
            "messages[1].tool_call_id",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c1"}, CALLED]},
            "messages[0].tool_call_id",
            "invalid_value",
        ),
        (
            {"messages": [USER, {**CALLED, "tool_calls": [{**CALL, "type": None}]}]},
            "messages[1].tool_calls[0].type",
            "unsupported_value",
        ),
        ({"messages": [{**USER, "name": 5}]}, "messages[0].name", "invalid_type"),
        (
            {"messages": [USER, {"role": "assistant", "content": "a", "reasoning_content": {}}]},
            "messages[1].reasoning_content",
            "invalid_type",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": "a", "reasoning": 5}]},
            "messages[1].reasoning",
            "invalid_type",
        ),
        ({"tools": [DEEP]}, "tools", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": [""]}, "stop", "invalid_value"),
        ({"stop": ["a", ""]}, "stop", "invalid_value"),
        ({"logit_bias": [50256]}, "logit_bias", "invalid_type"),
        ({"logit_bias": {"hello": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"1.0": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"7": "1"}}, "logit_bias.7", "invalid_type"),
        ({"logit_bias": {"7": None}}, "logit_bias.7", "missing_required_parameter"),
        ({"logit_bias": {"7": 101}}, "logit_bias.7", "number_above_max_value"),
        ({"logit_bias": {"7": -100.5}}, "logit_bias.7", "number_below_min_value"),
        (part(type="text"), "messages[0].content[0].text", "missing_required_parameter"),
        (
            part(type="video_url", video_url={"url": "http://10.0.0.1/"}),
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            part(type="input_audio", input_audio={"data": "AAAA", "format": "ogg"}),
            "messages[0].content[0].input_audio.format",
            "invalid_value",
        ),
        (
            part(type="file", file={"file_id": "file-1"}),
            "messages[0].content[0].file.file_id",
            "unsupported_value",
        ),
        (
            said({"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}),
            "messages[0].content[0].type",
            "invalid_value",
        ),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
        ({"temperature": 2.1}, "temperature", "number_above_max_value"),
        ({"top_p": -0.1}, "top_p", "number_below_min_value"),
        ({"frequency_penalty": -3}, "frequency_penalty", "number_below_min_value"),
        ({"presence_penalty": 3}, "presence_penalty", "number_above_max_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
        ({"stop": ["a", 1]}, "stop", "invalid_type"),
        ({"stop": 1}, "stop", "invalid_type"),
        ({"logit_bias": []}, "logit_bias", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type", "unsupported_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name",
            "invalid_value",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
            "invalid_type",
        ),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice", "invalid_value"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            "invalid_value",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
            "tool_choice",
            "unsupported_value",
        ),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls", "invalid_type"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format",
            "missing_required_parameter",
        ),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_value"),
        ({"functions": [{"name": "f"}], "tools": [TOOL]}, "functions", "invalid_value"),
        ({"functions": [{"name": "?"}]}, "functions[0].name", "invalid_value"),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "g"}},
            "function_call",
            "invalid_value",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_named(changed: JsonObject, field: str, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        chat(**changed)

    assert (caught.value.status, caught.value.field, caught.value.code) == (400, field, code)


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": None, "n": None, "stop": None, "tools": None, "stream": None},
        {"stop": "x"},
        {"stop": ["a", "b", "c", "d"]},
        {"prompt_cache_key": "k", "verbosity": "low", "store": True, "top_k": 4},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"logprobs": True, "top_logprobs": 20},
        {"modalities": ["text"]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}},
        said({"role": "assistant", "content": None, "tool_calls": [CALL]}),
        said({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
        {
            "messages": [
                CALLED,
                {
                    "role": "tool",
                    "content": [{"type": "text", "text": "x"}],
                    "tool_call_id": "c1",
                },
            ]
        },
        {"logit_bias": {"50256": -100, "7": 0.5}},
        {"logit_bias": {}},
        part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"}),
        part(type="file", file={"file_data": "AAAA", "filename": "a.pdf"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_right_is_taken(changed: JsonObject) -> None:
    assert chat(**changed).messages == len(changed.get("messages", [USER]))


@pytest.mark.parametrize("name", sorted(UNSAFE))
def test_extras_that_reach_into_others_are_left_out(name: str) -> None:
    assert name in chat(**{name: "x"}).drop


@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}], ids=str)
def test_without_tools_nothing_of_them_is_sent(tools: JsonObject) -> None:
    read = chat(**tools, tool_choice="auto", parallel_tool_calls=True)

    assert set(read.drop) == {"tool_choice", "parallel_tool_calls", *tools}


@pytest.mark.parametrize(
    ("old", "new", "most", "dropped"),
    [
        (5, 3, 3, ("max_tokens",)),
        (None, 3, 3, ("max_tokens",)),
        (5, None, 5, ("max_completion_tokens",)),
    ],
)
def test_of_two_maxima_the_newer_counts_if_it_is_one(
    old: int | None, new: int | None, most: int, dropped: tuple[str, ...]
) -> None:
    read = chat(max_tokens=old, max_completion_tokens=new)

    assert (read.max_tokens, read.drop) == (most, dropped)


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": [[1, -1]]}, "prompt", "invalid_type"),
        ({"prompt": {"a": 1}}, "prompt", "invalid_type"),
        ({"n": 3, "best_of": 2}, "best_of", "integer_below_min_value"),
        ({"best_of": 2, "stream": True}, "best_of", "unsupported_value"),
        ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
        ({"echo": 1}, "echo", "invalid_type"),
        ({"suffix": 1}, "suffix", "invalid_type"),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_completion_is_named(changed: JsonObject, field: str, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_completion(Fields({"prompt": "x", **changed}))

    assert (caught.value.status, caught.value.field, caught.value.code) == (400, field, code)


@pytest.mark.parametrize(
    ("prompt", "texts", "ids", "prompts"),
    [
        ("abc", ("abc",), 0, 1),
        (["a", "b"], ("a", "b"), 0, 2),
        ([1, 2, 3], (), 3, 1),
        ([[1, 2], [3]], (), 3, 2),
    ],
)
def test_every_form_of_a_prompt_is_counted(
    prompt: Json, texts: tuple[str, ...], ids: int, prompts: int
) -> None:
    read = read_completion(Fields({"prompt": prompt, "n": 2}))

    assert (read.text, read.ids, read.prompts, read.n) == (texts, ids, prompts, 2 * prompts)
    assert read.put == {"max_tokens": 16}


def test_a_surface_that_has_bounded_its_stop_strings_may_have_more() -> None:
    fields = Fields({"messages": [USER], "stop": list("abcdef")})

    assert read_chat(fields, stops=None).messages == 1


@pytest.mark.parametrize(
    ("changed", "forced"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
        ),
        ({"functions": [TOOL["function"]], "function_call": {"name": "f"}}, "function_call"),
    ],
    ids=["required", "named", "function"],
)
def test_a_model_that_calls_no_tools_refuses_a_call_that_is_forced(
    changed: JsonObject, forced: str
) -> None:
    with pytest.raises(Refused) as caught:
        no_tools(chat(**changed))

    assert (caught.value.field, caught.value.code) == (forced, "unsupported_value")


@pytest.mark.parametrize(
    ("changed", "ignored"),
    [
        ({"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}, ("tools",)),
        ({"tools": [TOOL], "tool_choice": "none"}, ("tools",)),
        ({"functions": [TOOL["function"]], "function_call": "auto"}, ("functions",)),
        ({}, ()),
    ],
    ids=["auto", "none", "functions", "nothing"],
)
def test_tools_are_left_out_for_a_model_that_calls_none_and_are_no_part_of_its_prompt(
    changed: JsonObject, ignored: tuple[str, ...]
) -> None:
    read = no_tools(chat(**changed))

    assert read.ignored == ignored
    assert read.tool_bytes == 0
    assert read.estimated_tokens == chat().estimated_tokens
    assert set(changed) <= set(read.drop)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(read.put)


def test_a_body_of_endless_members_is_refused() -> None:
    many: JsonObject = {f"k{number}": 0 for number in range(MEMBERS_AT_MOST)}
    for read, body in ((read_chat, {"messages": [USER]}), (read_completion, {"prompt": "a"})):
        with pytest.raises(Refused, match="members") as caught:
            read(Fields({**body, **many}))
        assert (caught.value.status, caught.value.code) == (400, "array_above_max_length")


def test_mistrals_words_reach_engines_as_openais() -> None:
    read = chat(tools=[TOOL], tool_choice="any", random_seed=7)
    both = chat(seed=1, random_seed=7)

    assert dict(read.put) == {"tool_choice": "required", "seed": 7}
    assert read.drop == both.drop == ("random_seed",)
    assert read.forced == "tool_choice"
    assert dict(both.put) == {}
    with pytest.raises(GatewayError):
        chat(random_seed="x")
