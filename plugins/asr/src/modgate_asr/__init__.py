"""Speech recognition for modgate: transcriptions and translations, metered in audio seconds."""

from __future__ import annotations

from modgate.plugin import hookimpl
from modgate_asr.modality import Asr


@hookimpl
def modgate_modalities() -> list[type[Asr]]:
    """The one modality of this plugin."""
    return [Asr]
