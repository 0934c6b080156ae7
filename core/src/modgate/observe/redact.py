"""Secrets and bodies taken out of text, whoever put them there.

Source: algorithms.md 9.
"""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_SECRETS = re.compile(
    r"mg_[a-z]{1,16}_[a-z0-9]{6,}(?:_[a-z0-9]+)*"  # our keys, cut ones too
    r"|bearer\s+[\w.~+/=-]{6,}"
    r"|(?-i:(?:AKIA|ASIA)[0-9A-Z]{12,})"
    r"|\b(?:sk-|hf_)[\w-]{16,}"  # what engines and model hubs are reached with
    r"|(?<=://)[^/@\s]+(?=@)"  # user and password of a URL
    r"|data:[\w.+/;=-]{0,100},[^\s\"'<>]*",
    re.IGNORECASE,
)
# Text without any of these signs, in lower case, holds no secret. No sign is spelled otherwise in
# JSON, so a whole line can be asked for them at once.
_SIGNS = ("mg_", "bearer", "akia", "asia", "sk-", "hf_", "://", "data:")


def suspicious(text: str) -> bool:
    """Whether `redacted` could change the text; cheap."""
    return any(map(text.lower().__contains__, _SIGNS))


def redacted(text: str) -> str:
    """The text without keys, tokens, passwords and embedded files."""
    return _SECRETS.sub(REDACTED, text)
