"""Text recognition for modgate: documents as markdown, metered in pages and pixels."""

from __future__ import annotations

from modgate.plugin import Dialect, LocalEngine, hookimpl
from modgate_ocr.dialects import DIALECTS
from modgate_ocr.engine import RapidOcr
from modgate_ocr.modality import Ocr

__all__ = ["Ocr"]


@hookimpl
def modgate_modalities() -> list[type[Ocr]]:
    """The one modality of this plugin."""
    return [Ocr]


@hookimpl
def modgate_dialects() -> list[type[Dialect]]:
    """The home wire, and the engines that operators run."""
    return list(DIALECTS)


@hookimpl
def modgate_local_engines() -> list[type[LocalEngine]]:
    """The demo model of the fileless start."""
    return [RapidOcr]
