"""What the engine is told to do with one call: a `Script`, with a `Refusal` or a `Fault` in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from oracle.words import CHARACTER_MS, MIB

# How families of engines spell an error (wire.md 1.6, 2.6, 5, 6.2).
Family = Literal["vllm", "sglang", "flat", "llamacpp", "tei", "fastapi", "text"]
FAMILIES: tuple[Family, ...] = ("vllm", "sglang", "flat", "llamacpp", "tei", "fastapi", "text")

FaultKind = Literal["silence", "close", "reset", "end", "kill", "error", "garbage", "huge"]

GARBAGE = b"<html><body>not \x00 what \xff you asked for</body></html>"
GARBAGE_EVENT = b'data: {"id": "chatcmpl-1", "choices": [{"delta": \n\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One write of a reply.

    `counts`: native units it delivers.  `content`: a client sees it as content (a token, audio, a
    whole body), so faults and gates count it; roles, usage and ends are not content.  `divisible`:
    a part of it delivers its share (audio), where half an event delivers nothing.
    """

    data: bytes = field(repr=False)
    counts: Mapping[str, int] = field(default_factory=dict)
    content: bool = True
    divisible: bool = False

    def half(self) -> Piece:
        """Its first half, with what that delivers, rounded up."""
        size = len(self.data) // 2
        share = {unit: -(-count * size // len(self.data)) for unit, count in self.counts.items()}
        counts = share if self.divisible else {}
        return Piece(data=self.data[:size], counts=counts, content=False, divisible=self.divisible)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A whole error reply instead of an answer."""

    status: int = 503
    family: Family = "vllm"
    message: str = "the scripted engine refuses"
    retry_after: str | None = None

    @property
    def body(self) -> bytes:
        """The error as the family spells it."""
        return json.dumps(error_body(self.family, self.status, self.message)).encode()

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """`Retry-After`, where the script has one."""
        return (("Retry-After", self.retry_after),) if self.retry_after is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, and when.

    `kind`:
        silence  nothing more is written; the connection stays open until the peer leaves
        close    FIN where more was promised
        reset    RST
        end      the HTTP body ends as if it were whole
        kill     the whole engine dies: every connection reset, nothing listens (`engine.restart()`)
        error    an error event of `family`, then `[DONE]`; of a reply that is not SSE, a reset
        garbage  `data` in place of the next piece, then silence if `stays` else the clean end
        huge     one event of `size` bytes before the next piece, then the reply goes on
    `after`: None is before the status line, 0 between the head and the first byte, k after k pieces
    of content.  `inside`: half of the next piece is written first.
    """

    kind: FaultKind
    after: int | None = 0
    inside: bool = False
    family: Family = "vllm"
    data: bytes | None = field(default=None, repr=False)
    size: int = 8 * MIB
    stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the engine answers one call; the default answers well and at once.

    `gated`: each piece of content after a call's first, and the end of a stream, waits for one
    `engine.release`.  `gated_calls`: the first piece of every call but the request's first waits,
    too; `held`: that of every call.
    `pieces`: replaces what the engine would have said, byte for byte, in its order.
    """

    # The reply
    tokens: int = 8
    usage: bool = True
    finish: bool = True
    done: bool = True
    input_tokens: int | None = None
    character_ms: int = CHARACTER_MS
    piece_ms: int = 240
    lines: int = 3
    dimensions: int = 8
    pieces: tuple[Piece, ...] | None = None
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    # Its pace
    headers_after_ms: float = 0
    first_byte_after_ms: float = 0
    between_ms: float = 0
    gated: bool = False
    gated_calls: bool = False
    held: bool = False
    # What goes wrong
    refusal: Refusal | None = None
    fault: Fault | None = None


OK = Script()


def error_body(family: Family, status: int, message: str) -> dict[str, object]:
    """An error as a family of engines spells it: codes are numbers, as they really are."""
    match family:
        case "vllm":
            kind = "BadRequestError" if status < 500 else "InternalServerError"
            return {"error": {"message": message, "type": kind, "param": None, "code": status}}
        case "sglang":
            return {"error": error_body("flat", status, message)}
        case "flat":
            return {
                "object": "error", "message": message, "type": "BadRequestError", "param": None,
                "code": status,
            }  # fmt: skip  # rows as they are read
        case "llamacpp":
            kind = "invalid_request_error" if status < 500 else "server_error"
            return {"error": {"code": status, "message": message, "type": kind}}
        case "tei":
            kind = {429: "Overloaded", 503: "Unhealthy", 424: "Backend"}.get(status, "Validation")
            return {"error": message, "error_type": kind}
        case "fastapi":
            return {"detail": {"error": "server_error", "message": message, "type": "error"}}
        case "text":
            return {"error": message}


def error_event(family: Family, status: int = 500, message: str = "the engine fell over") -> bytes:
    """An error in the middle of a stream; `fastapi` stands for one with an event name."""
    name = b"event: error\n" if family == "fastapi" else b""
    return name + event(error_body(family, status, message))


def event(value: object) -> bytes:
    """One SSE event in the form of wire.md 1.6."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def huge_event(size: int) -> bytes:
    """A chat chunk of exactly `size` bytes whose delta is one long word."""
    shell = event({"object": "chat.completion.chunk", "choices": [_delta("word")]})
    return shell.replace(b"word", b"x" * max(0, size - len(shell) + len("word")))


def huge_reply(size: int) -> bytes:
    """A whole chat reply of one choice that says one word of `size` bytes."""
    said = {"role": "assistant", "content": "word"}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    reply = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
    return reply.replace(b"word", b"x" * size)


def _delta(text: str) -> dict[str, object]:
    return {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
