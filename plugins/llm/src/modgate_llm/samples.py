"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

from modgate.plugin import JsonObject, Relay, Sample, Units
from modgate_llm.conversations import CONVERSATIONS

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Say hi."}]
_FRONT = '{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1730000000,"model":"m",'
_USAGE = '"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
_COST = Units(input_tokens=9, output_tokens=2)

REPLY: JsonObject = {
    "id": "chatcmpl-7",
    "object": "chat.completion",
    "created": 1730000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi there"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def _chunk(delta: str, finish: str = "null") -> bytes:
    choice = f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]'
    return f"{_FRONT}{choice}}}".encode()


STREAM = (
    _chunk('{"role":"assistant","content":""}'),
    _chunk('{"content":"Hi"}'),
    _chunk('{"content":" there"}'),
    _chunk("{}", '"stop"'),
    f'{_FRONT}"choices":[],{_USAGE}'.encode(),
)
TOOL_STREAM = (
    _chunk(
        '{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a1",'
        '"type":"function","function":{"name":"get_weather","arguments":""}}]}'
    ),
    _chunk('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"city\\":"}}]}'),
    _chunk('{"tool_calls":[{"index":0,"function":{"arguments":"\\"Paris\\"}"}}]}'),
    _chunk("{}", '"tool_calls"'),
    f'{_FRONT}"choices":[],{_USAGE}'.encode(),
)
_TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object"}},
}
_CHAT: JsonObject = {"model": "m", "messages": MESSAGES, "max_tokens": 8}
_STREAMED: JsonObject = {**_CHAT, "stream": True}
_TEXT = (
    b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,'
    b'"text":" world","logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)
_TEXT_STREAM = (
    *(
        b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,'
        b'"text":"' + text + b'","logprobs":null,"finish_reason":' + finish + b"}]}"
        for text, finish in ((b" wor", b"null"), (b"ld", b"null"), (b"", b'"stop"'))
    ),
    b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}',
)


def _two(changed: JsonObject) -> JsonObject:
    """A whole reply of two choices: the prompt once, the completions together."""
    first = REPLY["choices"][0]
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return {**REPLY, **changed, "choices": [first, {**first, "index": 1}], "usage": usage}


_FUNCTION = {"name": "get_weather", "parameters": {"type": "object"}}
_CALLED: JsonObject = {
    **REPLY,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_a1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": "{}"},
                    }
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
}
_CALLED_OLD: JsonObject = {
    **REPLY,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "get_weather", "arguments": "{}"},
            },
            "finish_reason": "function_call",
        }
    ],
}
_FAN = (
    Sample(
        path=CHAT,
        json={**_CHAT, "n": 2},
        facts={"n": False},
        upstream=[Relay.json(REPLY), Relay.json({**REPLY, "id": "chatcmpl-8"})],
        reply=_two({}),
        usage=Units(input_tokens=9, output_tokens=4),
    ),
    Sample(
        path=CHAT,
        json={**_STREAMED, "n": 2, "stream_options": {"include_usage": True}},
        facts={"n": False},
        upstream=[STREAM, STREAM],
        usage=Units(input_tokens=9, output_tokens=4),
    ),
)
_LEGACY = (
    Sample(
        path=CHAT,
        json={**_CHAT, "functions": [_FUNCTION], "function_call": "auto"},
        upstream=[Relay.json(_CALLED)],
        reply=_CALLED_OLD,
        usage=_COST,
    ),
    Sample(
        path=CHAT,
        json={**_STREAMED, "functions": [_FUNCTION]},
        upstream=[TOOL_STREAM],
        usage=_COST,
    ),
)

_CACHED: JsonObject = {
    **REPLY,
    "usage": {**REPLY["usage"], "prompt_tokens_details": {"cached_tokens": 4}},
}

SAMPLES = (
    Sample(
        path=CHAT,
        json=_CHAT,
        upstream=[Relay.json(_CACHED)],
        reply=_CACHED,
        usage=Units(input_tokens=9, cached_tokens=4, output_tokens=2),
    ),
    *_FAN,
    *_LEGACY,
    Sample(path=CHAT, json=_CHAT, upstream=[Relay.json(REPLY)], reply=REPLY, usage=_COST),
    Sample(path=CHAT, json=_STREAMED, upstream=[STREAM], usage=_COST),
    Sample(
        path=CHAT,
        json={**_STREAMED, "stream_options": {"include_usage": True}},
        upstream=[STREAM],
        usage=_COST,
    ),
    Sample(
        path=CHAT,
        json={**_STREAMED, "tools": [_TOOL], "tool_choice": "auto"},
        upstream=[TOOL_STREAM],
        usage=_COST,
    ),
    Sample(
        path=COMPLETIONS,
        json={"model": "m", "prompt": "Hello,", "max_tokens": 8},
        upstream=[_TEXT],
        usage=_COST,
    ),
    Sample(
        path=COMPLETIONS,
        json={"model": "m", "prompt": ["Hello,"], "max_tokens": 8},
        upstream=[_TEXT],
        usage=_COST,
    ),
    Sample(
        path=COMPLETIONS,
        json={"model": "m", "prompt": "Hello,", "max_tokens": 8, "stream": True},
        upstream=[_TEXT_STREAM],
        usage=_COST,
    ),
    *CONVERSATIONS,
)
