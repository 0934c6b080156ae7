"""A prompt that does not fit, in the exact words that SDKs and langchain match on.

Whoever finds out, the gateway before the call or an engine by its error, the client reads the same.
Source: wire.md 1.4, with the texts of vLLM, SGLang and llama.cpp's server.
"""

from __future__ import annotations

import re

from modgate.plugin import Refused

_MEANT = re.compile(
    r"maximum context length is \d+ tokens"
    r"|longer than the (?:model's context length|maximum model length)"
    r"|model's context length (?:\(|is only )\d+ tokens"
    r"|exceed(?:s|ed)? (?:the )?model's maximum context length"
    r"|exceed(?:s|ed)? the (?:available context size|maximum allowed length \(\d+ tokens)",
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
)
_PROMPT = _any(
    r"(\d+) in the (?:messages|prompt)",
    r"(\d+) (?:input|prompt) tokens",
    r"(\d+) tokens from the input",
    r"resulted in (\d+) tokens",
    r"(?:input|prompt|request)(?: length)? \((?:length )?(\d+)",
)
_SOME = _any(r"maximum context length is \d+ tokens\D*(\d+)(?! characters|\d)")
_COMPLETION = _any(
    r"(\d+) in the completion",
    r"(\d+) tokens for the completion",
    r"requested (\d+) output tokens",
    r"too large: (\d+)",
)


def context_exceeded(
    context: int, prompt: int | None, completion: int | None, param: str = "messages"
) -> Refused:
    """`prompt` None: too many to be counted; `completion` None: the prompt alone does not fit."""
    front = f"This model's maximum context length is {context} tokens. However, "
    if prompt is None or completion is None:
        many = f"at least {context + 1}" if prompt is None else prompt
        text = (
            f"{front}your messages resulted in {many} tokens. "
            "Please reduce the length of the messages."
        )
    else:
        text = (
            f"{front}you requested {prompt + completion} tokens ({prompt} in the messages, "
            f"{completion} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    return Refused(param, "context_length_exceeded", text)


def overflow(message: str, param: str) -> Refused | None:
    """The context error that an engine's text means, if it means one."""
    if _MEANT.search(message) is None:
        return None
    context = _number(_CONTEXT, message)
    prompt = _number(_PROMPT, message) or _number(_SOME, message)
    if context is None:
        text = (
            "This model's maximum context length is exceeded. "
            "Please reduce the length of the messages."
        )
        return Refused(param, "context_length_exceeded", text)
    completion = _number(_COMPLETION, message)
    if prompt is None or prompt > context:
        completion = None
    elif completion is None:  # it fits, so what was asked for on top of it does not
        prompt = None
    return context_exceeded(context, prompt, completion, param)


def _number(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return None if found is None else int(next(filter(None, found.groups())))
