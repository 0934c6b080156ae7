"""Clients that stall, and engines that misbehave."""

from __future__ import annotations

from collections.abc import Iterator

from oracle import requests as ask
from oracle.faults import Fault, Piece, Script, event
from oracle.requests import ClientRequest
from oracle.words import MIB, PCM_BYTES_MS

from junk.case import Case
from junk.plain import Make, chat, pages, ranks, sound, speech, vectors, voyage_ranks

GARBAGE = Script(fault=Fault(kind="garbage"))
SILENT = Script(fault=Fault(kind="silence", after=None))
TORN = Script(fault=Fault(kind="close", after=0, inside=True))
TORN_LATE = Script(tokens=8, fault=Fault(kind="close", after=2, inside=True))
HUGE_BYTES = 8 * MIB + 1024
# More than all sockets and buffers on the way hold.
UNREAD_PIECES, UNREAD_MS = 500, 1024
UNREAD_BYTES = UNREAD_MS * PCM_BYTES_MS


def streamed(tag: int) -> ClientRequest:
    """A chat in events."""
    return ask.chat(tag, model="chat", stream=True)


def seen(tag: int) -> ClientRequest:
    """A chat about a picture."""
    return ask.vision(tag, model="eyes")


def seen_streamed(tag: int) -> ClientRequest:
    """A chat about a picture, in events."""
    return ask.vision(tag, model="eyes", stream=True)


def spoken(tag: int) -> ClientRequest:
    """Speech in events."""
    return ask.speech(tag, model="voice", sse=True)


def written(tag: int) -> ClientRequest:
    """A transcript in events."""
    return ask.transcription(tag, model="ears", stream=True)


def hurried(make: Make) -> Make:
    """The same, by a client that waits less long than the gateway would."""

    def made(tag: int) -> ClientRequest:
        request = make(tag)
        short = request.modality in ("embedding", "rerank")
        return request if short else request.with_headers(x_request_timeout="2")

    return made


# Name, request, and the envelope of its errors.
WHOLE: tuple[tuple[str, Make, str], ...] = (
    ("llm", chat(), "openai"),
    ("vlm", seen, "openai"),
    ("asr", sound, "openai"),
    ("ocr", pages, "mistral"),
    ("embedding", vectors, "shared"),
    ("rerank", ranks, "cohere"),
    ("rerank for voyage", voyage_ranks, "voyage"),
)
STREAMED: tuple[tuple[str, Make], ...] = (("llm", streamed), ("vlm", seen_streamed))
SPEECH: tuple[tuple[str, Make], ...] = (("tts", speech), ("tts in events", spoken))


def _client_cases() -> Iterator[Case]:
    late = {"status": 408, "code": "request_timeout", "kind": "timeout_error", "how": "half"}
    yield Case(name="half a body and then silence", request=chat(), **late)
    yield Case(name="half an upload and then silence", request=sound, **late)
    yield Case(
        name="half a body and then silence for mistral", request=pages, envelope="mistral", **late
    )
    delta = {"index": 0, "delta": {"content": "x" * UNREAD_BYTES}, "finish_reason": None}
    long = event({"object": "chat.completion.chunk", "choices": [delta]})
    piece = Piece(data=long, counts={"llm.output_tokens": 1})
    endless = Script(pieces=(piece,) * UNREAD_PIECES)
    yield Case(
        name="a client that never reads a stream",
        request=streamed,
        status=0,
        how="mute",
        script=endless,
        within_s=6.0,
    )

    sound_of = Piece(
        data=b"\x01\x00" * (UNREAD_BYTES // 2), counts={"tts.speech_ms": UNREAD_MS}, divisible=True
    )
    loud = Script(pieces=(sound_of,) * UNREAD_PIECES)
    yield Case(
        name="a client that never reads speech",
        request=speech,
        status=0,
        how="mute",
        script=loud,
        within_s=6.0,
    )


def _garbage_cases() -> Iterator[Case]:
    bad = {"status": 502, "script": GARBAGE}
    code = "upstream_invalid_response"
    for name, make, envelope in WHOLE:
        yield Case(
            name=f"200 with garbage, {name}", request=make, envelope=envelope, code=code, **bad
        )
    for name, make in STREAMED:
        yield Case(name=f"200 with garbage, {name} in events", request=make, code=code, **bad)
        late = Script(fault=Fault(kind="garbage", after=2))
        yield Case(
            name=f"200 with garbage later, {name} in events",
            request=make,
            status=200,
            ends="upstream_invalid_response",
            script=late,
        )


def _torn_cases() -> Iterator[Case]:
    for name, make, envelope in WHOLE:
        yield Case(
            name=f"closes inside the body, {name}",
            request=make,
            status=502,
            envelope=envelope,
            code="upstream_error",
            script=TORN,
        )
    for name, make in STREAMED:
        yield Case(
            name=f"closes inside the first event, {name}",
            request=make,
            status=502,
            code="upstream_error",
            script=TORN,
        )
        yield Case(
            name=f"closes inside an event, {name}",
            request=make,
            status=200,
            ends="upstream_error",
            script=TORN_LATE,
        )
    yield Case(
        name="closes inside the sound, tts",
        request=speech,
        status=200,
        ends="cut",
        script=Script(fault=Fault(kind="close", after=2, inside=True)),
    )
    yield Case(
        name="closes inside the sound, tts in events",
        request=spoken,
        status=200,
        ends="upstream_error",
        script=Script(fault=Fault(kind="close", after=2, inside=True)),
    )


def _huge_cases() -> Iterator[Case]:
    for name, make in STREAMED:
        yield Case(
            name=f"an event of over 8 MiB, the first, {name}",
            request=make,
            status=502,
            code="upstream_invalid_response",
            within_s=5.0,
            alone=True,
            script=Script(fault=Fault(kind="huge", size=HUGE_BYTES)),
        )
        yield Case(
            name=f"an event of over 8 MiB, a later one, {name}",
            request=make,
            status=200,
            within_s=5.0,
            alone=True,
            ends="upstream_invalid_response",
            script=Script(fault=Fault(kind="huge", after=2, size=HUGE_BYTES)),
        )


def _silent_cases() -> Iterator[Case]:
    late = {"status": 504, "code": "upstream_timeout", "script": SILENT, "within_s": 4.0}
    for name, make, envelope in WHOLE:
        yield Case(name=f"never answers, {name}", request=hurried(make), envelope=envelope, **late)
    for name, make in (*STREAMED, *SPEECH, ("asr", written)):
        yield Case(name=f"never answers, {name} streamed", request=hurried(make), **late)


def engine_cases() -> list[Case]:
    """All of these."""
    return [
        *_client_cases(),
        *_garbage_cases(),
        *_torn_cases(),
        *_huge_cases(),
        *_silent_cases(),
    ]
