"""The contract, applied to ocr."""

from __future__ import annotations

from modgate.testing import Contract
from modgate_ocr.modality import Ocr


class TestOcr(Contract):
    """Every rule of the kit."""

    modality = Ocr
