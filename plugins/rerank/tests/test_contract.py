"""The contract, applied to rerank."""

from __future__ import annotations

from modgate.testing import Contract
from modgate_rerank.modality import Rerank


class TestRerank(Contract):
    """Every rule of the kit."""

    modality = Rerank
