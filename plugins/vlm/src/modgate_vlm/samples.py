"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

import base64
import struct
import zlib

from modgate.plugin import Json, JsonObject, Relay, Sample, Units

CHAT = "/v1/chat/completions"


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
)
