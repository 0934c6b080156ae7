"""A prompt that does not fit, in the exact words that SDKs and langchain match on.

Whoever finds out, the gateway before the call or an engine by its error, the client reads the same.
Source: wire.md 1.4, with the texts of vLLM, SGLang and llama.cpp's server; of LM Studio
(lmstudio-bug-tracker issue 546) and TGI (router/src/validation.rs).
"""

from __future__ import annotations

import re

from modgate.plugin import Refused

_MEANT = re.compile(
    r"maximum context length is \d+ tokens"
    r"|longer than the (?:model's context length|maximum model length)"
    r"|model's context length (?:\(|is only )\d+ tokens"
    r"|exceed(?:s|ed)? (?:the )?model's maximum context length"
    r"|exceed(?:s|ed)? the (?:available context size|maximum allowed length \(\d+ tokens)"
    r"|context length of only \d+ tokens"
    r"|`inputs` (?:must have less than|tokens \+ `max_new_tokens` must be <=) \d+",
    re.IGNORECASE,
)


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_CONTEXT = _any(
    r"maximum context length (?:is|of) (\d+)",
    r"maximum (?:context|allowed) length \((\d+)",
    r"model's context length (?:\(|is only )(\d+)",
    r"maximum model length of (\d+)",
    r"available context size \((\d+)",
    r"context length of only (\d+)",
    r"`inputs` must have less than (\d+)",
    r"`max_new_tokens` must be <= (\d+)",
)
_PROMPT = _any(
    r"(\d+) in the (?:messages|prompt)",
    r"(\d+) (?:input|prompt) tokens",
    r"(\d+) tokens from the input",
    r"keep the first (\d+) tokens",
    r"Given: (\d+)",
    r"resulted in (\d+) tokens",
    r"(?:input|prompt|request)(?: length)? \((?:length )?(\d+)",
)
_SOME = _any(r"maximum context length is \d+ tokens\D*(\d+)(?! characters| output|\d)")
_BOUNDS = re.compile(r"\((?:more than|at most)[^)]*\)")  # of characters, by tokens that would fit
_CHARACTERS = re.compile(r"\d+ (?:input )?characters")
_COMPLETION = _any(
    r"(\d+) in the completion",
    r"(\d+) tokens for the completion",
    r"requested (\d+) output tokens",
    r"too large: (\d+)",
    r"(\d+) `max_new_tokens`",
)


def context_exceeded(
    context: int,
    prompt: int | None,
    completion: int | None,
    param: str = "messages",
    *,
    least: bool = False,
) -> Refused:
    """`prompt` None: too many to be counted; `completion` None: the prompt alone does not fit.

    `least`: who found out stopped counting there.
    """
    front = f"This model's maximum context length is {context} tokens. However, "
    some = "at least " if least or prompt is None else ""
    if prompt is None or completion is None:
        text = (
            f"{front}your messages resulted in {some}{prompt or context + 1} tokens. "
            "Please reduce the length of the messages."
        )
    else:
        text = (
            f"{front}you requested {some}{prompt + completion} tokens ({some}{prompt} in the "
            f"messages, {completion} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    return Refused(param, "context_length_exceeded", text)


def overflow(message: str, param: str) -> Refused | None:
    """The context error that an engine's text means, if it means one."""
    if _MEANT.search(message) is None:
        return None
    message = _BOUNDS.sub("", message)
    context = _number(_CONTEXT, message)
    if context is None:
        text = (
            "This model's maximum context length is exceeded. "
            "Please reduce the length of the messages."
        )
        return Refused(param, "context_length_exceeded", text)
    completion = _number(_COMPLETION, message)
    uncounted = _CHARACTERS.search(message) is not None  # nobody counted on; so many do not fit
    prompt = (
        max(context + 1 - (completion or 0), 1)
        if uncounted
        else _number(_PROMPT, message) or _number(_SOME, message)
    )
    least = uncounted or "at least" in message
    if prompt is None or prompt > context:
        completion = None
    elif completion is None:  # it fits, so what was asked for on top of it does not
        prompt = None
    return context_exceeded(context, prompt, completion, param, least=least)


def _number(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return None if found is None else int(next(filter(None, found.groups())))
