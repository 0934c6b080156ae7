"""Speaker diarisation for modgate: who spoke when."""

from __future__ import annotations

from acme_diarize.engine import VoicePrint
from acme_diarize.modality import Diarize
from modgate.plugin import LocalEngine, hookimpl


@hookimpl
def modgate_modalities() -> list[type[Diarize]]:
    """The one modality of this plugin."""
    return [Diarize]


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """What `modgate serve` without a file serves it with."""
    return [VoicePrint]
