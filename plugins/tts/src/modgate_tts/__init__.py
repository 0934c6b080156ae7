"""Speech synthesis for modgate: text as speech, metered in characters and seconds of speech."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_tts.dialects import (
    SpeechHome,
    SpeechKokoro,
    SpeechOpenAi,
    SpeechPiper,
    SpeechSpeaches,
)
from modgate_tts.engine import Hibari
from modgate_tts.modality import Tts

__all__ = ["Tts"]


@hookimpl
def modgate_modalities() -> list[type[Tts]]:
    """The one modality of this plugin."""
    return [Tts]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire, which is OpenAI's asked for PCM, and engines that differ from it."""
    return [SpeechHome, SpeechOpenAi, SpeechKokoro, SpeechSpeaches, SpeechPiper]


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start."""
    return [Hibari]
