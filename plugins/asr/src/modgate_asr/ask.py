"""Reading the form that a client sends.  Source: wire.md 4.1, B7, B8."""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson

from modgate.kit.facts import facts_of
from modgate.plugin import Fields, JsonObject, Part, Request
from modgate_asr import mistral
from modgate_asr.config import Facts
from modgate_asr.formats import FORMATS, Wanted
from modgate_asr.languages import code_of

GRANULARITIES = frozenset({"word", "segment"})
INCLUDES = frozenset({"logprobs"})
STREAMED = frozenset({"json", "text", "diarized_json"})  # formats whose content events can carry
PROMPT_CHARACTERS = 4000
SPEAKERS, KEYWORDS = 4, 100
VAD_SILENCE_MS = 200  # what `chunking_strategy` looks for when it does not say
SPEAKER_NAMES, SPEAKER_REFERENCES = "known_speaker_names", "known_speaker_references"
# Fields of engines that know more than OpenAI; dialects leave out what their engines do not know.
EXTRAS = ("hotwords", "top_p", "seed", "max_completion_tokens", "to_language", "without_timestamps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A transcription or translation request.

    `silence_ms`: the shortest silence to cut in; None: the operator's.
    `references`: data: URLs of known speakers' voices.
    `parts`: names and values of form fields that every call carries.
    """

    wanted: Wanted
    silence_ms: int | None
    references: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]


def read(request: Request, task: str) -> Asked:
    """Read a request.  Refused names the first field that is wrong."""
    fields, facts = request.fields(), facts_of(request, Facts)
    of_mistral = task == "transcribe" and mistral.is_asked(request, fields)
    form = _form(request, fields, facts, task, of_mistral)
    stream = task == "transcribe" and fields.flag("stream", False)
    if stream and form not in STREAMED:
        reason = f"'response_format' {form} cannot be streamed; send json, text or diarized_json"
        raise fields.fault("response_format", "invalid_value", reason)
    grains = _grains(request, fields, facts, of_mistral or form == "verbose_json")
    wanted = Wanted(
        format=form,
        task=task,
        stream=stream,
        words="word" in grains and form != "diarized_json",
        segments="segment" in grains or (form != "json" if of_mistral else not grains),
        logprobs=_logprobs(request, fields, facts, form),
        mistral=request.asked if of_mistral else "",
    )
    names, references = _speakers(request, fields)
    parts = _plain(fields) + _language(request, fields, facts)
    parts += [(f"{name}[]", text) for name in ("languages", "keywords") for text in _many(
        request, fields, name, KEYWORDS
    )]  # fmt: skip  # rows as they are read
    if of_mistral:
        told = _many(request, fields, "context_bias", KEYWORDS)
        parts += [("keywords[]", text) for text in told]
    if wanted.speakers:
        parts += [(f"{SPEAKER_NAMES}[]", each) for each in names]
        parts += [(f"{SPEAKER_REFERENCES}[]", each) for each in references]
    return Asked(
        wanted=wanted,
        silence_ms=_silence_ms(fields),
        references=references,
        parts=tuple(parts),
    )


def _form(request: Request, fields: Fields, facts: Facts, task: str, of_mistral: bool) -> str:
    if of_mistral:
        name, form = mistral.MARK, "diarized_json" if fields.flag(mistral.MARK, False) else "json"
    else:
        name, form = "response_format", fields.choice("response_format", FORMATS, "json")
    if form == "diarized_json" and (task == "translate" or not facts.diarizes):
        reason = f"the model `{request.asked}` does not tell speakers apart"
        reason = reason if task == "transcribe" else "translations have no speakers"
        raise fields.fault(name, "invalid_value", reason)
    return form


def _many(request: Request, fields: Fields, name: str, at_most: int) -> list[str]:
    """The values of all fields `name`, `name[]` and `name[0]`, in order."""
    found = [
        part.text()
        for part in request.body.parts
        if part.filename is None and _array_of(part) == name
    ]
    if len(found) > at_most:
        reason = f"'{name}' has {len(found)} items; at most {at_most} are allowed"
        raise fields.fault(name, "array_above_max_length", reason)
    return found


def _array_of(part: Part) -> str:
    name, bracket, key = part.name.partition("[")
    return name if not bracket or key.rstrip("]").isdigit() or key == "]" else ""


def _grains(request: Request, fields: Fields, facts: Facts, timed: bool) -> list[str]:
    name = "timestamp_granularities"
    grains = _many(request, fields, name, len(GRANULARITIES) ** 2)
    if any(grain not in GRANULARITIES for grain in grains):
        raise fields.fault(name, "invalid_value", f"'{name}' takes: segment, word")
    if grains and not timed:
        if "response_format" not in fields:  # some clients always send what is the default there
            return []
        raise fields.fault(name, "invalid_value", f"'{name}' needs response_format verbose_json")
    if "word" in grains and facts.timestamps != "word":
        reason = f"the model `{request.asked}` gives no times of words"
        raise fields.fault(name, "invalid_value", reason)
    return grains


def _logprobs(request: Request, fields: Fields, facts: Facts, form: str) -> bool:
    include = _many(request, fields, "include", len(INCLUDES) ** 2)
    if any(each not in INCLUDES for each in include):
        raise fields.fault("include", "invalid_value", "'include' takes: logprobs")
    if include and form != "json":
        reason = "'include' logprobs needs response_format json"
        raise fields.fault("include", "invalid_value", reason)
    if include and not facts.logprobs:
        reason = f"the model `{request.asked}` gives no logprobs"
        raise fields.fault("include", "invalid_value", reason)
    return bool(include)


def _speakers(request: Request, fields: Fields) -> tuple[list[str], tuple[str, ...]]:
    names = _many(request, fields, SPEAKER_NAMES, SPEAKERS)
    references = _many(request, fields, SPEAKER_REFERENCES, SPEAKERS)
    if len(names) != len(references):
        reason = f"there must be as many '{SPEAKER_REFERENCES}' as '{SPEAKER_NAMES}'"
        raise fields.fault(SPEAKER_REFERENCES, "invalid_value", reason)
    if any(not each.startswith("data:") or ";base64," not in each for each in references):
        reason = f"each of '{SPEAKER_REFERENCES}' must be a data: URL in base64"
        raise fields.fault(SPEAKER_REFERENCES, "invalid_value", reason)
    return names, tuple(references)


def _plain(fields: Fields) -> list[tuple[str, str]]:
    """Fields that are passed on as they came; of a long prompt the end, which models use."""
    fields.number("temperature", None, at_least=0, at_most=1)
    prompt = fields.text("prompt", "", empty=True)
    parts = [("prompt", prompt[-PROMPT_CHARACTERS:])] if prompt else []
    names = ("temperature", *EXTRAS)
    rest = [(name, value) for name in names if isinstance(value := fields.get(name), str)]
    return parts + rest


def _language(request: Request, fields: Fields, facts: Facts) -> list[tuple[str, str]]:
    written = fields.text("language", None, empty=True)
    if not written:
        return []
    code = code_of(written)
    if code is None:
        reason = "unknown language; send a code or an English name: en, english"
        raise fields.fault("language", "invalid_value", reason)
    if facts.languages and code not in facts.languages:
        reason = f"the model `{request.asked}` knows: {', '.join(facts.languages)}"
        raise fields.fault("language", "invalid_value", reason)
    return [("language", code)]


def _silence_ms(fields: Fields) -> int | None:
    """The shortest silence to cut in that `chunking_strategy` names; None without one.

    Its other settings are checked, and change nothing: the gateway cuts between pieces, and throws
    no audio away.
    """
    name = "chunking_strategy"
    strategy = fields.get(name)
    if strategy is None or strategy == "auto":
        return None if strategy is None else VAD_SILENCE_MS
    if isinstance(strategy, str):
        strategy = _object(strategy)
    if not isinstance(strategy, dict):
        raise fields.wrong(name, "'auto' or an object")
    inner = Fields(strategy, at=f"{name}.", loose=True)
    inner.choice("type", ("server_vad",))
    inner.number("threshold", None, at_least=0, at_most=1)
    inner.number("prefix_padding_ms", None, at_least=0)
    wished = inner.number("silence_duration_ms", VAD_SILENCE_MS, at_least=0)
    return max(20, min(5000, math.ceil(wished)))


def _object(text: str) -> JsonObject | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
