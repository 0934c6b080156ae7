"""A seeded mix of planned endings: what each client asks, what the engine does, who leaves when.

Source: issue 2, point 6: five endings in seven modalities, each at least 10 times, at most 40 % ok.
The plan is found again at the engine by the tag in the request.  How a request really ended is for
`compare.endings` to say.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from oracle import requests as ask
from oracle.client import Leave
from oracle.compare import ENDINGS, Ending
from oracle.conversations import message, response, spoken
from oracle.faults import FAMILIES, OK, Fault, FaultKind, Refusal, Script
from oracle.record import Record, Stage
from oracle.requests import ClientRequest, RerankBody, TranscriptFormat
from oracle.words import MODALITIES, TAGS, Modality

# Where a call is when it is cut: before its head, before its first byte, in its body.
Window = Literal["headers", "first", "body"]
WINDOWS: tuple[Window, ...] = get_args(Window)
REACHED: dict[Window, Stage] = {"headers": "arrived", "first": "headers", "body": "piece"}

OK_MOST = 0.4
STATUSES = (400, 422, 429, 500, 503)
DECODED = ("asr", "ocr")
DECODED_TIMEOUT_S = 4.0  # decoding comes first, and they are to time out at the engine
CONVERSED = (message, response, spoken)
# Long enough for a gateway to relay one piece before the next comes.
SPACING_MS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One request of the mix.

    `scripts`: for its calls, in their order; the last serves those beyond.  `reached`: the client
    that leaves whatever came back waits until so many `calls` got that far at the engine.  `alone`:
    it takes the engine down, so nothing else may run beside it.
    """

    tag: int
    modality: Modality
    ending: Ending
    request: ClientRequest
    scripts: tuple[Script, ...] = (OK,)
    leave: Leave | None = None
    reached: Stage = "arrived"
    calls: int = 1
    alone: bool = False

    def script_for(self, record: Record) -> Script:
        """What the engine does with one of its calls; a retry gets the same again."""
        return self.scripts[min(record.place, len(self.scripts) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A plan by tag; `script_for` is for the engine."""

    seed: int
    planned: Mapping[int, Planned]

    def script_for(self, record: Record) -> Script:
        """The script of whoever's tag the call carries; good for calls without one."""
        planned = self.planned.get(record.tag) if record.tag is not None else None
        return OK if planned is None else planned.script_for(record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request before anything goes wrong, and how many calls the gateway makes of it at least."""

    request: ClientRequest
    calls: int = 1
    pieces: int = 1
    script: Script = OK


Drawer = Callable[[random.Random, int, str], Draft]


def draw(
    seed: int = 1,
    count: int = 1_000,
    *,
    least: int = 14,
    models: Mapping[Modality, str] | None = None,
    timeout_s: float = 0.5,
) -> Mix:
    """Draw the plan.

    `least`: of each ending in each modality; more than the ten wanted, for under load a few end in
    another way than planned.  `models`: names where they are not the modality's.
    `timeout_s`: the `x-request-timeout` of requests that shall time out.
    """
    rng = random.Random(seed)
    cells = [(modality, ending) for modality in MODALITIES for ending in ENDINGS] * least
    assert len(cells) <= count <= TAGS
    ok_left = int(count * OK_MOST * 0.95) - len(MODALITIES) * least
    while len(cells) < count:
        ending = rng.choices(ENDINGS, weights=(5, 2, 4, 2, 3))[0]
        if ending == "ok":
            ending = "ok" if ok_left > 0 else "gone"
            ok_left -= 1
        cells.append((rng.choice(MODALITIES), ending))
    rng.shuffle(cells)
    planned: dict[int, Planned] = {}
    kills: Counter[Modality] = Counter()
    for tag, (modality, ending) in enumerate(cells):
        draft = _DRAWERS[modality](rng, tag, (models or {}).get(modality, modality))
        wait_s = DECODED_TIMEOUT_S if modality in DECODED else timeout_s
        one = _plan(rng, draft, ending, wait_s)
        if ending == "killed" and not kills[modality]:
            kills[modality] += 1
            one = replace(one, scripts=tuple(map(_killing, one.scripts)), alone=True)
        planned[tag] = one
    return Mix(seed=seed, planned=planned)


def _killing(script: Script) -> Script:
    return replace(script, fault=replace(script.fault, kind="kill")) if script.fault else script


def _plan(rng: random.Random, draft: Draft, ending: Ending, timeout_s: float) -> Planned:
    request = draft.request
    plain = Planned(
        tag=request.tag,
        modality=request.modality,
        ending=ending,
        request=request,
        scripts=(draft.script,),
    )
    window = rng.choice(WINDOWS)
    match ending:
        case "refused":
            return replace(plain, scripts=(replace(draft.script, refusal=_refusal(rng)),))
        case "gone":
            return leaving(rng, draft, plain, window)
        case "timeout":
            slow = request.with_headers(x_request_timeout=f"{timeout_s:g}")
            return replace(plain, request=slow, scripts=cut(rng, draft, window, "silence"))
        case "killed":
            kind: FaultKind = rng.choice(("close", "reset"))
            return replace(plain, scripts=cut(rng, draft, window, kind))
        case "ok" | "unsent":
            return plain


def _refusal(rng: random.Random) -> Refusal:
    status = rng.choice(STATUSES)
    return Refusal(
        status=status,
        family=rng.choice(FAMILIES),
        retry_after="1" if status == 429 else None,
    )


def cut(rng: random.Random, draft: Draft, window: Window, kind: FaultKind) -> tuple[Script, ...]:
    """Scripts that break a request in a window: in the body of fan-out, behind its first call."""
    slow = replace(draft.script, between_ms=SPACING_MS)
    match window:
        case "headers":
            return (replace(slow, fault=Fault(kind=kind, after=None)),)
        case "first":
            return (replace(slow, fault=Fault(kind=kind, after=0)),)
        case "body" if draft.calls > 1 and draft.pieces == 1:
            return (draft.script, replace(slow, fault=Fault(kind=kind, after=0, inside=True)))
        case "body" if draft.pieces > 1:
            after = rng.randint(1, min(5, draft.pieces - 1))
            inside = kind != "silence" and rng.random() < 0.5
            return (replace(slow, fault=Fault(kind=kind, after=after, inside=inside)),)
        case "body":
            return (replace(slow, fault=Fault(kind=kind, after=0, inside=True)),)


def leaving(rng: random.Random, draft: Draft, plain: Planned, window: Window) -> Planned:
    """The client leaves a silent engine: by what it has read of a stream, else by how far that is.

    One that is read call by call (a long recording) is left when its second call is mid-body.
    """
    scripts = cut(rng, draft, window, "silence")
    fault = scripts[-1].fault
    how: Literal["close", "reset"] = rng.choice(("close", "reset"))
    reads = window == "body" and draft.request.streamed and draft.pieces > 1
    if reads and fault is not None:
        events = 1
        if draft.request.modality in ("llm", "vlm") and fault.after:
            events = rng.randint(1, fault.after)
        leave = Leave(at="body", events=events, how=how)
        return replace(plain, scripts=scripts, leave=leave)
    return replace(
        plain,
        scripts=scripts,
        leave=Leave(at="sent", how=how),
        reached=REACHED[window],
        calls=len(scripts),
    )


def window(
    modality: Modality,
    at: Window,
    *,
    tag: int,
    stream: bool = False,
    fan_out: bool = False,
    model: str | None = None,
) -> Planned:
    """A request whose client leaves in a window, to measure when the engine's socket knows.

    `fan_out`: several calls (asr, tts, ocr; rerank where slices are under 200 documents); all but
    the first of them are cut.
    """
    draft = _window_draft(modality, tag, model or modality, stream=stream, fan_out=fan_out)
    plain = Planned(tag=tag, modality=modality, ending="gone", request=draft.request)
    return leaving(random.Random(tag), draft, plain, at)


def _window_draft(
    modality: Modality, tag: int, model: str, *, stream: bool, fan_out: bool
) -> Draft:
    match modality:
        case "llm":
            request = ask.chat(tag, model=model, stream=stream)
            return Draft(request=request, pieces=8 if stream else 1)
        case "vlm":
            request = ask.vision(tag, model=model, stream=stream)
            return Draft(request=request, pieces=8 if stream else 1)
        case "asr":
            lasts = 45_000 if fan_out else 2_000
            request = ask.transcription(tag, model=model, duration_ms=lasts, stream=stream)
            return Draft(request=request, calls=2 if fan_out else 1)
        case "tts":
            request = ask.speech(tag, model=model, sentences=6 if fan_out else 1, sse=stream)
            return Draft(request=request, calls=2 if fan_out else 1, pieces=16)
        case "ocr":
            pages = 4 if fan_out else 0
            return Draft(request=ask.ocr(tag, model=model, pages=pages), calls=max(1, pages))
        case "embedding":
            return Draft(request=ask.embeddings(tag, model=model))
        case "rerank":
            documents = 200 if fan_out else 3
            return Draft(request=ask.rerank(tag, model=model, documents=documents))


# --- one request of each modality, drawn


def _draw_text(rng: random.Random, tag: int, model: str) -> Draft:
    stream, usage, tokens = rng.random() < 0.6, rng.random() < 0.5, rng.randint(6, 12)
    drawn = rng.random()
    if drawn < 0.4:
        converse = CONVERSED[int(drawn / 0.4 * len(CONVERSED))]
        request = converse(tag, model=model, stream=stream)
    else:
        builder = ask.completion if drawn < 0.6 else ask.chat
        request = builder(tag, model=model, stream=stream, usage=usage)
    script = Script(tokens=tokens, between_ms=rng.choice((0, 1, 4)))
    return Draft(request=request, pieces=tokens if stream else 1, script=script)


def _draw_vision(rng: random.Random, tag: int, model: str) -> Draft:
    stream, tokens = rng.random() < 0.6, rng.randint(6, 12)
    usage, images, drawn = rng.random() < 0.5, rng.randint(1, 2), rng.random()
    if drawn < 0.4:
        converse = CONVERSED[int(drawn / 0.4 * len(CONVERSED))]
        request = converse(tag, model=model, stream=stream, images=images)
    else:
        request = ask.vision(tag, model=model, stream=stream, usage=usage, images=images)
    script = Script(tokens=tokens, between_ms=rng.choice((0, 1, 4)))
    return Draft(request=request, pieces=tokens if stream else 1, script=script)


def _draw_audio(rng: random.Random, tag: int, model: str) -> Draft:
    long = rng.random() < 0.1
    lasts = rng.randrange(30_500, 36_000, 100) if long else rng.randrange(300, 4_000, 100)
    stream = rng.random() < (0.7 if long else 0.3)
    forms: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)
    request = ask.transcription(
        tag,
        model=model,
        duration_ms=lasts,
        stream=stream,
        response_format="json" if stream else rng.choice(forms),
        translate=not stream and rng.random() < 0.2,
    )
    return Draft(request=request, calls=2 if long else 1)


def _draw_speech(rng: random.Random, tag: int, model: str) -> Draft:
    sentences = rng.choice((1, 1, 2, 4))
    wav, sse = rng.random() < 0.4, rng.random() < 0.3
    request = ask.speech(
        tag,
        model=model,
        sentences=sentences,
        response_format="wav" if wav and not sse else "pcm",
        sse=sse,
    )
    script = Script(character_ms=12, piece_ms=96)
    return Draft(request=request, pieces=8, script=script)


def _draw_page(rng: random.Random, tag: int, model: str) -> Draft:
    pages = rng.choice((0, 0, 1, 2, 3))
    request = ask.ocr(tag, model=model, pages=pages)
    return Draft(request=request, calls=max(1, pages), script=Script(lines=rng.randint(1, 5)))


def _draw_vectors(rng: random.Random, tag: int, model: str) -> Draft:
    request = ask.embeddings(
        tag,
        model=model,
        inputs=rng.randint(1, 5),
        single=rng.random() < 0.3,
        base64=rng.random() < 0.4,
    )
    return Draft(request=request, script=Script(dimensions=rng.choice((4, 8, 16))))


def _draw_ranking(rng: random.Random, tag: int, model: str) -> Draft:
    bodies: Sequence[RerankBody] = get_args(RerankBody)
    request = ask.rerank(tag, model=model, documents=rng.randint(2, 7), body=rng.choice(bodies))
    return Draft(request=request)


_DRAWERS: dict[Modality, Drawer] = {
    "llm": _draw_text,
    "vlm": _draw_vision,
    "asr": _draw_audio,
    "tts": _draw_speech,
    "ocr": _draw_page,
    "embedding": _draw_vectors,
    "rerank": _draw_ranking,
}
