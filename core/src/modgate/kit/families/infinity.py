"""Infinity: its errors, and what it counts where tokens are asked for.

Source: michaelfeil/infinity, libs/infinity_emb/infinity_emb/transformer/utils.py; its replies at
0.0.78.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from modgate.plugin import Dialect, GatewayError, UpstreamFailed, engine_message


class Infinity(Dialect):
    """What every modality's Infinity dialect shares.  `use`: what its models are for."""

    family = "infinity"
    use: ClassVar[str]

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A model that it has not, or that is for another use, is our configuration's fault."""
        if status == 400 and engine_message(body).startswith(("Invalid model", "ModelNotDeployed")):
            return UpstreamFailed(f"the engine does not serve this model for {self.use}")
        return super().refusal(status, headers, body)


def characters(text: str) -> int:
    """The length of a text by which it bills, unless it was started with `--lengths-via-tokenize`.

    It takes the blanks at both ends off first.
    """
    return len(text.strip())
