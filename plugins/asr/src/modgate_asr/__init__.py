"""Speech recognition for modgate: transcriptions and translations, metered in audio seconds."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_asr.dialects import DIALECTS
from modgate_asr.engine import WhisperTiny
from modgate_asr.modality import Asr

__all__ = ["Asr"]


@hookimpl
def modgate_modalities() -> list[type[Asr]]:
    """The one modality of this plugin."""
    return [Asr]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """How engines spell it."""
    return list(DIALECTS)


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start."""
    return [WhisperTiny]
