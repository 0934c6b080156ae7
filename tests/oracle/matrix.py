"""Every way in which a request of every modality can end, as a table whose cells are all spoken of.

A cell holds a request of each form that the modality has (a whole reply, a stream, several calls),
what the engine does with it, and what is expected: how it ended by the evidence, and by the ledger.
A cell that cannot be says why.

Source: issue 4, point 5.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from oracle import requests as ask
from oracle.client import Leave
from oracle.compare import Ending as Evidence
from oracle.faults import OK, Fault, FaultKind, Refusal, Script
from oracle.mix import Draft, Planned, Window, cut, leaving
from oracle.record import Record
from oracle.words import MODALITIES, Modality

Form = Literal["whole", "stream", "fan-out"]
Ending = Literal[
    *("ok", "refused"),
    # The client leaves: while it sends, while it waits for a slot, and in each window of the reply.
    *("gone-upload", "gone-queue", "gone-headers", "gone-first", "gone-body"),
    # The engine fails in the middle of a reply, or is tried again elsewhere before its first event.
    *("failed-close", "failed-reset", "failed-error"),
    *("retried-busy", "retried-headers", "retried-first"),
    *("timeout-headers", "timeout-first", "timeout-body"),
    # The whole engine dies.
    *("killed-headers", "killed-first", "killed-body"),
    # One member of a shared trip leaves, before the trip and under way.
    "dropped",
]
ENDINGS: tuple[Ending, ...] = get_args(Ending)

FORMS: Mapping[Modality, tuple[Form, ...]] = {
    "llm": ("whole", "stream"),  # one call a request
    "vlm": ("whole", "stream"),
    "asr": ("whole", "stream", "fan-out"),
    "tts": ("whole", "stream", "fan-out"),
    "ocr": ("whole", "fan-out"),  # its reply is one document, never a stream
    "embedding": ("whole",),  # one list of vectors, of one call
    "rerank": ("whole", "fan-out"),  # one ranking
}
_ALONE = "its calls go alone: only texts and rankings share a trip"
IMPOSSIBLE: Mapping[tuple[Modality, Ending], str] = {
    (modality, "dropped"): _ALONE
    for modality in MODALITIES
    if modality not in ("embedding", "rerank")
}
CELLS = tuple(
    (modality, ending)
    for modality in MODALITIES
    for ending in ENDINGS
    if (modality, ending) not in IMPOSSIBLE
)

HELD_MS = 900  # a call that others wait behind
SHARED_MS = 400  # a trip of several, long enough to leave it
ENDED: Mapping[str, tuple[frozenset[Evidence], str]] = {
    "ok": (frozenset({"ok"}), "ok"),
    "refused": (frozenset({"refused"}), "refused"),
    "gone": (frozenset({"gone"}), "client_gone"),
    "failed": (frozenset({"killed", "timeout"}), "upstream_failed"),  # an error event is no cut
    "retried": (frozenset({"ok"}), "ok"),
    "timeout": (frozenset({"timeout"}), "timed_out"),
    "killed": (frozenset({"killed"}), "upstream_failed"),
}
NEVER_SENT: tuple[frozenset[Evidence], str] = (frozenset({"unsent"}), "client_gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How a request ends: by what engine and client have, and by the ledger's word.

    `outcome` "": it is in no frame, for the gateway never knew what was asked of it.
    """

    evidence: frozenset[Evidence]
    outcome: str


@dataclass(slots=True, kw_only=True)
class Cell:
    """One cell.  `holder`: a request that holds the one slot, behind which the others wait."""

    modality: Modality
    ending: Ending
    planned: list[Planned] = field(default_factory=list)
    expected: dict[int, Expected] = field(default_factory=dict)
    holder: Planned | None = None
    _tried: set[bytes] = field(default_factory=set)

    @property
    def engines(self) -> int:
        """How many engines serve the model."""
        return 2 if self.ending.startswith("retried") else 1

    @property
    def slots(self) -> int:
        """How many calls an engine takes at once."""
        return 64 if self.holder is None else 1

    @property
    def alone(self) -> bool:
        """Its requests run one after another: each takes the engine down."""
        return self.ending.startswith("killed")

    def script_for(self, record: Record) -> Script:
        """What an engine does with a call; a retried one goes well wherever it comes next."""
        planned = {one.tag: one for one in self.planned}
        if self.holder is not None:
            planned[self.holder.tag] = self.holder
        if len(record.tags) > 1:
            return replace(OK, first_byte_after_ms=SHARED_MS)
        one = planned.get(record.tag) if record.tag is not None else None
        if one is None:
            return OK
        if self.ending.startswith("retried"):
            call = _content(record)
            if call in self._tried:
                return replace(one.script_for(record), refusal=None, fault=None)
            self._tried.add(call)
        return one.script_for(record)


def trace_of(tag: int) -> str:
    """The trace id of a cell's request."""
    return f"{tag + 1:032x}"


def _content(record: Record) -> bytes:
    """What a call says, whichever engine it is sent to."""
    said = [json.dumps(record.asked.json, sort_keys=True).encode(), record.asked.raw]
    return b"".join([*said, *(part.data for part in record.asked.parts)])


def cell(modality: Modality, ending: Ending, model: str, patience_s: float) -> Cell:
    """The requests of a cell; `model`: the name that they ask for, `patience_s`: after which one
    that shall run out of time does.
    """
    kind = ending.partition("-")[0]
    made = Cell(modality=modality, ending=ending)
    if ending in ("gone-queue", "dropped"):
        draft = _DRAFTS[modality](100, model, "whole")
        slow = replace(draft.script, first_byte_after_ms=HELD_MS)
        made.holder = replace(_plain(draft), scripts=(slow,))
        made.expected[100] = Expected(evidence=frozenset({"ok"}), outcome="ok")
    for tag, (draft, leaves) in enumerate(_drafts(modality, ending, model)):
        one, ended = _plain(draft), ENDED.get(kind, ENDED["ok"])
        match kind:
            case "refused":
                one = replace(one, scripts=(replace(draft.script, refusal=Refusal(status=400)),))
            case "gone":
                one, ended = _gone(draft, ending)
            case "failed" | "killed" | "timeout" | "retried":
                one = _spoilt(draft, ending, patience_s)
            case "dropped" if leaves:
                one = replace(one, leave=Leave(at="sent"))
                ended = ENDED["gone"]
        # By its trace the ledger's frame is found of a client that left before it heard an id.
        known = one.request.with_headers(traceparent=f"00-{trace_of(tag)}-{1:016x}-00")
        made.planned.append(replace(one, request=known))
        made.expected[tag] = Expected(evidence=ended[0], outcome=ended[1])
    return made


def _drafts(modality: Modality, ending: Ending, model: str) -> Iterator[tuple[Draft, bool]]:
    """One request of each form, and whether it leaves; of a shared trip three, and one does."""
    if ending == "dropped":
        for tag, leaves in enumerate((False, True, False)):
            yield _DRAFTS[modality](tag, model, "whole"), leaves
        return
    for tag, form in enumerate(FORMS[modality]):
        yield _DRAFTS[modality](tag, model, form), ending.startswith("gone")


def _plain(draft: Draft) -> Planned:
    request = draft.request
    return Planned(
        tag=request.tag,
        modality=request.modality,
        ending="ok",
        request=request,
        scripts=(draft.script,),
    )


def _gone(draft: Draft, ending: Ending) -> tuple[Planned, tuple[frozenset[Evidence], str]]:
    one, rng = _plain(draft), random.Random(draft.request.tag)
    match ending:
        case "gone-upload":
            return replace(one, leave=Leave(at="upload")), (NEVER_SENT[0], "")
        case "gone-queue":
            return replace(one, leave=Leave(at="sent")), NEVER_SENT
        case _:
            return leaving(rng, draft, one, _window(ending)), ENDED["gone"]


def _spoilt(draft: Draft, ending: Ending, patience_s: float) -> Planned:
    one, rng = _plain(draft), random.Random(draft.request.tag)
    kind, _, where = ending.partition("-")
    match kind:
        case "failed":
            fault = _FAULTS[where]
            return replace(one, scripts=cut(rng, draft, "body", fault))
        case "timeout":
            slow = draft.request.with_headers(x_request_timeout=f"{patience_s:g}")
            return replace(one, request=slow, scripts=cut(rng, draft, _window(ending), "silence"))
        case "retried" if where == "busy":
            return replace(one, scripts=(replace(draft.script, refusal=Refusal(status=503)),))
        case "retried":
            # Before its first event, whichever call of the request it is.
            after = None if where == "headers" else 0
            script = replace(draft.script, fault=Fault(kind="reset", after=after))
            return replace(one, scripts=(script,))
        case _:
            return replace(one, scripts=cut(rng, draft, _window(ending), "kill"), alone=True)


def _window(ending: Ending) -> Window:
    found: Mapping[str, Window] = {"headers": "headers", "first": "first", "body": "body"}
    return found[ending.partition("-")[2]]


_FAULTS: Mapping[str, FaultKind] = {"close": "close", "reset": "reset", "error": "error"}


# --- one request of each modality and form


def _text(tag: int, model: str, form: Form) -> Draft:
    stream = form == "stream"
    request = ask.chat(tag, model=model, stream=stream, usage=stream)
    return Draft(request=request, pieces=8 if stream else 1)


def _picture(tag: int, model: str, form: Form) -> Draft:
    stream = form == "stream"
    request = ask.vision(tag, model=model, stream=stream, usage=stream)
    return Draft(request=request, pieces=8 if stream else 1)


def _recording(tag: int, model: str, form: Form) -> Draft:
    lasts = 31_000 if form == "fan-out" else 1_000
    request = ask.transcription(tag, model=model, duration_ms=lasts, stream=form == "stream")
    return Draft(request=request, calls=2 if form == "fan-out" else 1)


def _speech(tag: int, model: str, form: Form) -> Draft:
    sentences = 4 if form == "fan-out" else 1
    request = ask.speech(tag, model=model, sentences=sentences, sse=form == "stream")
    script = Script(character_ms=12, piece_ms=96)
    return Draft(request=request, calls=2 if form == "fan-out" else 1, pieces=8, script=script)


def _page(tag: int, model: str, form: Form) -> Draft:
    pages = 3 if form == "fan-out" else 0
    return Draft(request=ask.ocr(tag, model=model, pages=pages), calls=max(1, pages))


def _texts(tag: int, model: str, form: Form) -> Draft:
    del form
    return Draft(request=ask.embeddings(tag, model=model))


def _ranking(tag: int, model: str, form: Form) -> Draft:
    documents = 300 if form == "fan-out" else 3
    calls = 2 if form == "fan-out" else 1
    return Draft(request=ask.rerank(tag, model=model, documents=documents), calls=calls)


_DRAFTS: Mapping[Modality, Callable[[int, str, Form], Draft]] = {
    "llm": _text,
    "vlm": _picture,
    "asr": _recording,
    "tts": _speech,
    "ocr": _page,
    "embedding": _texts,
    "rerank": _ranking,
}
