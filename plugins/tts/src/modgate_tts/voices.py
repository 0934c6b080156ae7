"""Finding the voice that a client means: by name, by another name for it, or as a blend."""

from __future__ import annotations

import re

from modgate.plugin import Fields, Json, Refused
from modgate_tts.config import Facts

_BLEND = re.compile(r"[^+\-()]+(?:\(\d+(?:\.\d+)?\))?(?:[+-][^+\-()]+(?:\(\d+(?:\.\d+)?\))?)*")
_MEMBER = re.compile(r"([^+\-()]+)((?:\([\d.]+\))?)")


def voice_of(fields: Fields, facts: Facts, member: str = "voice") -> str:
    """The engine's name of the voice.  Refused, with the names that there are, for another.

    `member`: the member of the body that names the voice.
    """
    given: Json = fields.get(member)
    if isinstance(given, dict):
        wanted = fields.inner(member).text("id", at_most=200)
    else:
        wanted = fields.text(member, at_most=200)
    if wanted in facts.voice_map or wanted in facts.voices or not facts.blends:
        return _known(wanted, facts, member)
    blend = wanted.replace(" ", "")
    if _BLEND.fullmatch(blend) is None:
        raise _unknown(facts, member)
    return _MEMBER.sub(lambda found: _known(found[1], facts, member) + found[2], blend)


def _known(wanted: str, facts: Facts, member: str) -> str:
    voice = facts.voice_map.get(wanted, wanted)
    if facts.voices and voice not in facts.voices:
        raise _unknown(facts, member)
    return voice


def _unknown(facts: Facts, member: str) -> Refused:
    names = ", ".join(sorted({*facts.voices, *facts.voice_map}))
    blends = "; they may be mixed: a(2)+b" if facts.blends else ""
    return Refused(member, "invalid_value", f"unknown voice; there are: {names}{blends}")
