"""Requests of other APIs of a conversation with what they cost: the same as their chats."""

from __future__ import annotations

from modgate.plugin import JsonObject, Relay, Sample, Units, Unsupported

RESPONSES, MESSAGES, COHERE = "/v1/responses", "/v1/messages", "/v2/chat"
_FRONT = '{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1730000000,"model":"m",'
_ID = "0" * 32
_TOOL: JsonObject = {"name": "get_weather", "description": "Weather of a city"}
_SCHEMA: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}}
_USAGE: JsonObject = {
    "prompt_tokens": 9,
    "completion_tokens": 6,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
_CALL: JsonObject = {
    "id": "call_a1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
}
_COST = Units(input_tokens=9, cached_tokens=4, output_tokens=6)


def _whole(finish: str, **message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    front = {"id": "chatcmpl-7", "object": "chat.completion", "created": 1730000000, "model": "m"}
    return Relay.json({**front, "choices": [choice], "usage": _USAGE})


def _chunk(delta: JsonObject, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _FRONT.encode() + b'"choices":[' + Relay.json(choice) + b"]}"


def _of_call(index: int, **function: str) -> JsonObject:
    begins = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **begins, "function": function}]}


_END = _FRONT.encode() + b'"choices":[],"usage":' + Relay.json(_USAGE) + b"}"
_SAYS = _whole("stop", content="Hi there", reasoning_content="Be kind.")
_CALLS = _whole("tool_calls", content=None, tool_calls=[_CALL])
_STREAM = (
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"reasoning_content": "Be "}),
    _chunk({"reasoning_content": "kind."}),
    _chunk({"content": "Hi"}),
    _chunk({"content": " there"}),
    _chunk({}, "stop"),
    _END,
)
_TOOL_STREAM = (
    _chunk({"role": "assistant", "content": None}),
    _chunk(_of_call(0, name="get_weather", arguments="")),
    _chunk(_of_call(0, arguments='{"city":')),
    _chunk(_of_call(0, arguments='"Paris"}')),
    _chunk(_of_call(1, name="get_weather", arguments='{"city":"Rome"}')),
    _chunk({}, "tool_calls"),
    _END,
)

_ASKED: JsonObject = {
    "model": "m",
    "instructions": "Be brief.",
    "input": "Say hi.",
    "max_output_tokens": 8,
}
_AGAIN: JsonObject = {
    **_ASKED,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
        {"type": "function_call", "call_id": "call_a1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_a1", "output": "rain"},
    ],
    "tools": [{"type": "function", **_TOOL, "parameters": _SCHEMA}],
    "tool_choice": "auto",
}
_TOLD: JsonObject = {
    "model": "m",
    "max_tokens": 8,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Say hi."}],
}
_TOLD_AGAIN: JsonObject = {
    **_TOLD,
    "messages": [
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "call_a1", "name": "get_weather", "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_a1", "content": "rain"}],
        },
    ],
    "tools": [{**_TOOL, "input_schema": _SCHEMA}],
    "tool_choice": {"type": "auto"},
}
_MESSAGE: JsonObject = {
    "id": f"msg_{_ID}",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "Be kind.", "signature": ""},
        {"type": "text", "text": "Hi there"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 5,
        "output_tokens": 6,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 0,
    },
}
_USED: JsonObject = {
    **_MESSAGE,
    "content": [
        {"type": "tool_use", "id": "call_a1", "name": "get_weather", "input": {"city": "Paris"}}
    ],
    "stop_reason": "tool_use",
}
_SPOKEN: JsonObject = {
    "model": "m",
    "max_tokens": 8,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say hi."}]},
    ],
}
_SPOKEN_AGAIN: JsonObject = {
    **_SPOKEN,
    "messages": [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "tool_plan": "I look.", "tool_calls": [_CALL]},
        {
            "role": "tool",
            "tool_call_id": "call_a1",
            "content": [{"type": "document", "document": {"data": {"weather": "rain"}}}],
        },
    ],
    "tools": [{"type": "function", "function": {**_TOOL, "parameters": _SCHEMA}}],
}
_TOKENS: JsonObject = {"input_tokens": 9, "output_tokens": 6}
_SPEAKS: JsonObject = {
    "id": "00000000-0000-0000-0000-000000000000",
    "message": {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Be kind."},
            {"type": "text", "text": "Hi there"},
        ],
    },
    "finish_reason": "COMPLETE",
    "usage": {"billed_units": _TOKENS, "tokens": _TOKENS, "cached_tokens": 4},
}
_SPEAKS_AGAIN: JsonObject = {
    **_SPEAKS,
    "message": {"role": "assistant", "tool_calls": [_CALL]},
    "finish_reason": "TOOL_CALL",
}

CONVERSATIONS = (
    Sample(path=COHERE, json=_SPOKEN, upstream=[_SAYS], reply=_SPEAKS, usage=_COST),
    Sample(path=COHERE, json=_SPOKEN_AGAIN, upstream=[_CALLS], reply=_SPEAKS_AGAIN, usage=_COST),
    Sample(path=COHERE, json={**_SPOKEN, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(
        path=COHERE, json={**_SPOKEN_AGAIN, "stream": True}, upstream=[_TOOL_STREAM], usage=_COST
    ),
    Sample(path=RESPONSES, json=_ASKED, upstream=[_SAYS], usage=_COST),
    Sample(path=RESPONSES, json=_AGAIN, upstream=[_CALLS], usage=_COST),
    Sample(path=RESPONSES, json={**_ASKED, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(path=RESPONSES, json={**_AGAIN, "stream": True}, upstream=[_TOOL_STREAM], usage=_COST),
    Sample(
        path=f"{RESPONSES}/input_tokens",
        json=_ASKED,
        answers=[[b'{"count":12}']],
        reply={"object": "response.input_tokens", "input_tokens": 12},
        usage=Units(),
    ),
    Sample(
        path=f"{RESPONSES}/input_tokens",
        json=_AGAIN,
        answers=[[b'{"count":40}']],
        reply={"object": "response.input_tokens", "input_tokens": 40},
        usage=Units(),
    ),
    Sample(
        path=f"{RESPONSES}/input_tokens",
        json=_ASKED,
        answers=[Unsupported("no tokenizer")],
        reply={"object": "response.input_tokens", "input_tokens": 14},
        usage=Units(),
    ),
    Sample(path=MESSAGES, json=_TOLD, upstream=[_SAYS], reply=_MESSAGE, usage=_COST),
    Sample(path=MESSAGES, json=_TOLD_AGAIN, upstream=[_CALLS], reply=_USED, usage=_COST),
    Sample(path=MESSAGES, json={**_TOLD, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(
        path=MESSAGES, json={**_TOLD_AGAIN, "stream": True}, upstream=[_TOOL_STREAM], usage=_COST
    ),
    Sample(
        path=f"{MESSAGES}/count_tokens",
        json={name: value for name, value in _TOLD.items() if name != "max_tokens"},
        answers=[[b'{"count":12}']],
        reply={"input_tokens": 12},
        usage=Units(),
    ),
    Sample(
        path=f"{MESSAGES}/count_tokens",
        json=_TOLD_AGAIN,
        answers=[[b'{"count":40}']],
        reply={"input_tokens": 40},
        usage=Units(),
    ),
    Sample(
        path=f"{MESSAGES}/count_tokens",
        json=_TOLD,
        answers=[Unsupported("no tokenizer")],
        reply={"input_tokens": 14},
        usage=Units(),
    ),
)
