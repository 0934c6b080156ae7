"""The contract, applied to ocr."""

from __future__ import annotations

from typing import ClassVar

from modgate.testing import Contract
from modgate_ocr.dialects import DIALECTS
from modgate_ocr.modality import Ocr


class TestOcr(Contract):
    """Every rule of the kit."""

    modality = Ocr
    dialects: ClassVar = DIALECTS
