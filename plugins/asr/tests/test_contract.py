"""The contract, applied to asr."""

from __future__ import annotations

from modgate.testing import Contract
from modgate_asr.dialects import DIALECTS
from modgate_asr.modality import Asr


class TestAsr(Contract):
    """Every rule of the kit."""

    modality = Asr
    dialects = DIALECTS
