"""Speech recognition for modgate: transcriptions and translations, metered in audio seconds."""

from __future__ import annotations

from modgate.plugin import LocalEngine, hookimpl
from modgate_asr.engine import WhisperTiny
from modgate_asr.modality import Asr


@hookimpl
def modgate_modalities() -> list[type[Asr]]:
    """The one modality of this plugin."""
    return [Asr]


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start."""
    return [WhisperTiny]
