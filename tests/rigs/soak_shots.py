"""What clients of a soak send: every modality and every ending, each ready to be sent many times.

A shot's bytes are made once.  What must differ each time is put in when it is sent: `NONCE` becomes
the request's number, wherever it stands.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, get_args

from gateways import MODELS
from junk.files import file_cases
from junk.plain import plain_cases
from oracle import requests as ask
from oracle.conversations import message, response, spoken
from oracle.engine import ScriptFor
from oracle.faults import OK, Fault, FaultKind, Refusal, Script
from oracle.record import Record
from oracle.requests import ClientRequest, RerankBody
from oracle.words import tag_text

from modgate.api.secret import Secret
from modgate.auth.keys import new_key

ENGINES = 3
NONCE = b"soaknumber00"
ENGINES = 3
# Who asks: a tenant of the file; one with small limits; one that is made and deleted on the way;
# nobody; a key that does not exist, of a good form and of none.
Key = Literal["any", "tight", "passing", "none", "unknown", "odd"]
# The client leaves: inside its head; inside its body; a moment after all is sent, which no engine
# answers whole; at the first byte of the reply's body.
Leave = Literal["", "head", "upload", "sent", "body"]
# What has no status: half a reply, for an engine was told to fail.
CUT = -3
FAILED = (200, 429, 502, 503, CUT)
UNKNOWN_KEYS = 5_000
LONG_MS, MANY = 31_000, 200
OFTEN = {"llm": 2, "vlm": 0.6, "asr": 0.2, "tts": 0.6, "ocr": 0.2, "embedding": 1.2, "rerank": 1}
Make = Callable[[int], ClientRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One sort of request with one ending.

    `weight`: how often, beside others.  `statuses`: what may come of it; of one that leaves,
    anything.  `fresh`: it opens a connection of its own.  `named`: it has an `Idempotency-Key`.
    """

    name: str = ""
    weight: float = 1.0
    method: str = "POST"
    path: str
    headers: bytes = b""
    body: bytes = field(default=b"", repr=False)
    statuses: frozenset[int] = frozenset({200})
    key: Key = "any"
    leave: Leave = ""
    fresh: bool = False
    named: bool = False

    def may(self, *statuses: int) -> Shot:
        """The same, of which this may come."""
        return replace(self, statuses=frozenset(statuses))

    def leaving(self, leave: Leave) -> Shot:
        """The same, of a client that leaves."""
        return replace(self, leave=leave, fresh=True)

    def saying(self, line: str) -> Shot:
        """The same with a header more."""
        return replace(self, headers=self.headers + line.encode() + b"\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What engines do with a call; only the one at this place, where `place` is one."""

    script: Script
    place: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """All of them, and what engines are told of each by its tag."""

    all: tuple[Shot, ...]
    told: Mapping[int, Told]
    unknown_keys: tuple[str, ...]


def sorts() -> Iterator[tuple[str, float, Make]]:
    """Good requests of each sort by their tag, and how often each is sent within its modality."""
    chat, eyes, ears, voice, page, vectors, ranks = MODELS
    for stream in (False, True):
        how = "streamed" if stream else "whole"
        yield f"chat {how}", 3, partial(ask.chat, model=chat, stream=stream, usage=stream)
        yield f"completion {how}", 1, partial(ask.completion, model=chat, stream=stream)
        yield f"message {how}", 1, partial(message, model=chat, stream=stream)
        yield f"response {how}", 1, partial(response, model=chat, stream=stream)
        yield f"cohere's chat {how}", 1, partial(spoken, model=chat, stream=stream)
        yield f"picture {how}", 1, partial(ask.vision, model=eyes, stream=stream)
        yield f"picture message {how}", 0.5, partial(message, model=eyes, stream=stream, images=1)
        yield f"recording {how}", 1, partial(ask.transcription, model=ears, stream=stream)
        yield f"speech {how}", 1, partial(ask.speech, model=voice, sse=stream)
    long = partial(ask.transcription, model=ears, duration_ms=LONG_MS, stream=True)
    yield "long recording", 0.05, long
    yield "translation", 0.3, partial(ask.transcription, model=ears, translate=True)
    yield "speech wav", 0.5, partial(ask.speech, model=voice, response_format="wav")
    yield "speech mp3", 0.1, partial(ask.speech, model=voice, response_format="mp3")
    yield "long speech", 0.3, partial(ask.speech, model=voice, sentences=5)
    yield "page", 1, partial(ask.ocr, model=page)
    yield "document", 0.1, partial(ask.ocr, model=page, pages=3)
    yield "texts", 3, partial(ask.embeddings, model=vectors)
    yield "one text", 1, partial(ask.embeddings, model=vectors, single=True, base64=True)
    yield "many texts", 0.2, partial(ask.embeddings, model=vectors, inputs=MANY)
    for body in get_args(RerankBody):
        yield f"rerank {body}", 1, partial(ask.rerank, model=ranks, body=body)
    yield "long rerank", 0.1, partial(ask.rerank, model=ranks, documents=MANY)


def shots(seed: int) -> Shots:
    """Every sort with every ending, bad input, and what is no request at all."""
    told: dict[int, Told] = {}
    found: list[Shot] = []
    for name, often, make in sorts():
        for ending, share, change, doing in _endings(streamed=make(0).streamed):
            tag = len(told)
            place = tag % ENGINES if doing.place is not None else None
            told[tag] = replace(doing, place=place)
            request = make(tag)
            weight = OFTEN[request.modality] * often * share
            shot = replace(_shot(request), name=f"{name}, {ending}", weight=weight)
            found.append(change(shot))
    found += [*_bad_input(), *_strangers()]
    return Shots(all=tuple(found), told=told, unknown_keys=_unknown_keys(seed))


def _shot(request: ClientRequest) -> Shot:
    lines = (("Content-Type", request.content_type), *request.headers)
    tag = tag_text(request.tag).encode()
    return Shot(
        method=request.method,
        path=request.path,
        body=request.body.replace(tag, tag + b" " + NONCE),
        headers="".join(f"{name}: {value}\r\n" for name, value in lines).encode(),
    )


Change = Callable[[Shot], Shot]
SOMEWHERE = 0  # at one of the engines, so that another may do better
GOOD = Script(tokens=6, character_ms=6, piece_ms=96)


def _endings(*, streamed: bool) -> Iterator[tuple[str, float, Change, Told]]:
    """Name, share, what it makes of a good request, and what engines do."""

    def doing(fault: Fault) -> Script:
        return replace(GOOD, fault=fault)

    def inside(kind: FaultKind) -> Script:
        return doing(Fault(kind=kind, after=1 if streamed else 0, inside=True))

    good, nothing = Told(script=GOOD), doing(Fault(kind="silence", after=None))
    yield "ok", 60, lambda shot: shot, good
    yield "limits", 4, lambda shot: replace(shot, key="tight").may(200, 413, 429), good
    yield "passing", 4, lambda shot: replace(shot, key="passing").may(200, 401), good
    yield "named", 3, lambda shot: replace(shot, named=True).may(200, 409, 422), good
    yield "dry run", 0.5, lambda shot: shot.saying("x-modgate-dry-run: true"), good
    for status in (400, 422, 429, 500, 503):
        refusal = Refusal(status=status, retry_after="1" if status == 429 else None)
        refused = Told(script=replace(GOOD, refusal=refusal), place=SOMEWHERE)
        yield f"engine: {status}", 0.7, lambda shot: shot.may(400, 422, *FAILED), refused
    for kind in ("close", "reset", "garbage"):
        for where, script in (
            ("head", doing(Fault(kind=kind, after=None))),
            ("body", doing(Fault(kind=kind, after=0))),
            ("end", inside(kind)),
        ):
            failing = Told(script=script, place=SOMEWHERE)
            yield f"engine: {kind} before its {where}", 0.6, lambda shot: shot.may(*FAILED), failing
    hurry = "x-request-timeout: 0.3"
    yield "timeout", 0.4, lambda shot: shot.saying(hurry).may(503, 504, CUT), Told(script=nothing)
    yield "gone in its head", 1, lambda shot: shot.leaving("head"), good
    yield "gone in its body", 1, lambda shot: shot.leaving("upload"), good
    begun, cut = Told(script=doing(Fault(kind="silence", after=0))), Told(script=inside("silence"))
    yield "gone before headers", 1.5, lambda shot: shot.leaving("sent"), Told(script=nothing)
    yield "gone before a byte", 1.5, lambda shot: shot.leaving("sent"), begun
    yield "gone at a byte", 1.5, lambda shot: shot.leaving("body" if streamed else "sent"), cut


def _bad_input() -> Iterator[Shot]:
    """Those of `tests/junk` that are sent like any other, and reach no engine."""
    keys: dict[str, Key] = {"good": "any", "none": "none", "bad": "odd"}
    for case in (*plain_cases(), *file_cases()):
        plain = case.how == "whole" and case.gate == "shut" and case.script is None
        if plain and case.key in keys and case.status not in (200, 413):
            shot = replace(_shot(case.request(0)), name=case.name, weight=8, key=keys[case.key])
            yield shot.may(case.status, *((429,) if case.key != "good" else ()))


def _strangers() -> Iterator[Shot]:
    """Paths, models, keys and heads of which each is another one."""
    nonce = NONCE.decode()
    chat, texts = _shot(ask.chat(0, model=nonce)), _shot(ask.embeddings(0, model=nonce))
    yield replace(chat, name="junk model", weight=150).may(404)
    yield replace(texts, name="junk model, embedding", weight=40).may(404)
    yield replace(chat, name="junk path", weight=150, path=f"/v1/{nonce}/completions").may(404)
    yield replace(chat, name="junk method", weight=10, method="PUT").may(405)
    yield replace(chat, name="unknown key", weight=200, key="unknown").may(401, 429)
    yield replace(chat, name="odd key", weight=100, key="odd").may(401, 429)
    yield replace(chat, name="no key", weight=20, key="none").may(401)
    page = Shot(name="models", weight=20, path="/v1/models", method="GET")
    yield page
    yield replace(page, name="receipt", path=f"/v1/usage/req_{nonce}").may(404)
    yield replace(page, name="openapi", path="/openapi.json", weight=2)
    yield replace(page, name="health", path="/health/ready", key="none")
    yield replace(page, name="long head").saying("x-long: " + "y" * 20_000).may(431)
    yield replace(page, name="no HTTP", path="/v1/ models").may(400)


def _unknown_keys(seed: int) -> tuple[str, ...]:
    made = random.Random(seed).randbytes
    pepper = Secret("another pepper")
    keys = (new_key(pepper, name="x", env="test", random=made) for _ in range(UNKNOWN_KEYS))
    return tuple(key.reveal() for key, _ in keys)


def script_at(made: Shots, place: int) -> ScriptFor:
    """What the engine at this place does with each call."""

    def script(record: Record) -> Script:
        told = made.told.get(record.tag) if record.tag is not None else None
        return OK if told is None or told.place not in (None, place) else told.script

    return script
