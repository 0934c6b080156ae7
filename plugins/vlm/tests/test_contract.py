"""The contract, applied to vlm."""

from __future__ import annotations

from modgate.testing import Contract
from modgate_vlm.modality import Vlm


class TestVlm(Contract):
    """Every rule of the kit."""

    modality = Vlm
