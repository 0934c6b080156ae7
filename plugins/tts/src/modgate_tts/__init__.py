"""Speech synthesis for modgate: text as speech, metered in characters and seconds of speech."""

from __future__ import annotations

from modgate.plugin import hookimpl
from modgate_tts.modality import Tts


@hookimpl
def modgate_modalities() -> list[type[Tts]]:
    """The one modality of this plugin."""
    return [Tts]
