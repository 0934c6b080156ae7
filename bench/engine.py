"""A fake engine as cheap as Python allows: a raw protocol that answers before it parses.

`POST /v1/chat/completions` answers one kilobyte with usage, or (when the body says `"stream":true`)
64 events, one each 20 ms, with usage at the end if it was asked for.  `GET /count` tells what it
served.  Run as `python bench/engine.py PORT`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

TEXT = "x" * 700
WHOLE = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1730000000,"model":"engine-chat",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"' + TEXT + '"},'
    '"logprobs":null,"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":200,"completion_tokens":100,"total_tokens":300}}'
).encode()
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    + str(len(WHOLE)).encode()
    + b"\r\n\r\n"
    + WHOLE
)
EVENTS, EVERY_S = 64, 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FRONT = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1730000000,'
    '"model":"engine-chat","choices":['
)


def _chunk(event: str) -> bytes:
    data = f"data: {event}\n\n".encode()
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


ONE = _chunk(
    FRONT + '{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}'
)
LAST = (
    _chunk(FRONT + '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}')
    + _chunk(FRONT + '],"usage":{"prompt_tokens":200,"completion_tokens":64,"total_tokens":264}}')
    + _chunk("[DONE]")
    + b"0\r\n\r\n"
)
served = {"whole": 0, "streams": 0}


class Engine(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        self.transport = transport
        self.held = b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self.held) < end + 4 + length:
                return
            body = self.held[end + 4 : end + 4 + length]
            self.held = self.held[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /count"):
            text = f'{{"whole":{served["whole"]},"streams":{served["streams"]}}}'.encode()
            front = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
            self.transport.write(front.encode() + text)
        elif b'"stream":true' in body or b'"stream": true' in body:
            served["streams"] += 1
            self.transport.write(HEAD)
            self.left = EVENTS
            asyncio.get_running_loop().call_later(EVERY_S, self.tick)
        else:
            served["whole"] += 1
            self.transport.write(REPLY)

    def tick(self) -> None:
        if self.transport.is_closing():
            return
        self.left -= 1
        self.transport.write(ONE)
        if self.left:
            asyncio.get_running_loop().call_later(EVERY_S, self.tick)
        else:
            self.transport.write(LAST)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Engine, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1])))
