"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

import base64
import struct
import zlib

from modgate.plugin import Json, JsonObject, Relay, Sample, Units

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
COHERE = "/v2/chat"


def png(width: int, height: int) -> bytes:
    """A red picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff\x00\x00" * width) * height)
    front = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return front + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


IMAGE = "data:image/png;base64," + base64.b64encode(png(32, 16)).decode()
_PART: Json = {"type": "image_url", "image_url": {"url": IMAGE}}
_MESSAGE: Json = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, _PART]}
_ASKED: JsonObject = {"model": "m", "messages": [_MESSAGE], "max_tokens": 8}
_USAGE = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
_REPLY: JsonObject = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 1730000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Red square"},
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
}
_FRONT = '{"id":"chatcmpl-9","object":"chat.completion.chunk","created":1730000000,"model":"m",'


def _chunk(delta: str, finish: str = "null") -> bytes:
    choice = f'"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]'
    return f"{_FRONT}{choice}}}".encode()


_STREAM = (
    _chunk('{"role":"assistant","content":""}'),
    _chunk('{"content":"Red"}'),
    _chunk('{"content":" square"}'),
    _chunk("{}", '"stop"'),
    f'{_FRONT}"choices":[],"usage":'.encode() + Relay.json(_USAGE) + b"}",
)
_COST = Units(input_tokens=20, output_tokens=2, images=1, image_pixels=512)
_TEXT: JsonObject = {**_ASKED, "messages": [{"role": "user", "content": "Hello."}]}
_INPUT: JsonObject = {
    "model": "m",
    "max_output_tokens": 8,
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
            ],
        }
    ],
}
_SOURCE = {"type": "base64", "media_type": "image/png", "data": IMAGE.partition(",")[2]}
_TOLD: JsonObject = {
    "model": "m",
    "max_tokens": 8,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": _SOURCE},
                {"type": "text", "text": "What is this?"},
            ],
        }
    ],
}
_ANSWERED: JsonObject = {
    "id": "msg_" + "0" * 32,
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Red square"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 20,
        "output_tokens": 2,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    },
}
_HEARD: JsonObject = {"model": "m", "input": "Hello."}
_SAID: JsonObject = {**_TOLD, "messages": [{"role": "user", "content": "Hello."}]}
_TOKENS: JsonObject = {"input_tokens": 20, "output_tokens": 2}
_SPOKEN: JsonObject = {
    "id": "00000000-0000-0000-0000-000000000000",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Red square"}]},
    "finish_reason": "COMPLETE",
    "usage": {"billed_units": _TOKENS, "tokens": _TOKENS, "cached_tokens": 0},
}
_COUNTED = 10  # an estimate: 5 of the text, 4 of the message, 1 of 512 pixels

SAMPLES = (
    Sample(path=CHAT, json=_ASKED, upstream=[Relay.json(_REPLY)], reply=_REPLY, usage=_COST),
    Sample(path=CHAT, json={**_ASKED, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(
        path=CHAT,
        json=_TEXT,
        upstream=[Relay.json(_REPLY)],
        reply=_REPLY,
        usage=Units(input_tokens=20, output_tokens=2),
    ),
    Sample(path=COHERE, json=_ASKED, upstream=[Relay.json(_REPLY)], reply=_SPOKEN, usage=_COST),
    Sample(path=COHERE, json={**_ASKED, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(
        path=COHERE,
        json=_TEXT,
        upstream=[Relay.json(_REPLY)],
        reply=_SPOKEN,
        usage=Units(input_tokens=20, output_tokens=2),
    ),
    Sample(path=RESPONSES, json=_INPUT, upstream=[Relay.json(_REPLY)], usage=_COST),
    Sample(path=RESPONSES, json={**_INPUT, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(
        path=f"{RESPONSES}/input_tokens",
        json=_INPUT,
        reply={"object": "response.input_tokens", "input_tokens": _COUNTED},
        usage=Units(),
    ),
    *(
        Sample(path=path, json=asked, reply=reply, usage=Units())
        for path, asked, reply in (
            (
                f"{RESPONSES}/input_tokens",
                _HEARD,
                {"object": "response.input_tokens", "input_tokens": 6},
            ),
            (f"{RESPONSES}/input_tokens", {**_HEARD, "stream": True}, None),
            (f"{MESSAGES}/count_tokens", _SAID, {"input_tokens": 6}),
            (f"{MESSAGES}/count_tokens", {**_SAID, "stream": True}, None),
        )
    ),
    Sample(
        path=RESPONSES,
        json=_HEARD,
        upstream=[Relay.json(_REPLY)],
        usage=Units(input_tokens=20, output_tokens=2),
    ),
    Sample(
        path=MESSAGES,
        json=_SAID,
        upstream=[Relay.json(_REPLY)],
        reply=_ANSWERED,
        usage=Units(input_tokens=20, output_tokens=2),
    ),
    Sample(path=MESSAGES, json=_TOLD, upstream=[Relay.json(_REPLY)], reply=_ANSWERED, usage=_COST),
    Sample(path=MESSAGES, json={**_TOLD, "stream": True}, upstream=[_STREAM], usage=_COST),
    Sample(
        path=f"{MESSAGES}/count_tokens",
        json=_TOLD,
        reply={"input_tokens": _COUNTED},
        usage=Units(),
    ),
)
