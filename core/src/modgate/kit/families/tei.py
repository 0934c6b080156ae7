"""text-embeddings-inference: its errors, and where it says how many tokens it read.

Source: wire.md 6.2 and 8.4 (TEI 1.9.3).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import ClassVar

from modgate.kit.told import told
from modgate.plugin import Dialect, GatewayError, Refused, UpstreamFailed, engine_message

TAKES = 32  # inputs of a call, where it is not started with another `--max-client-batch-size`
_BATCH = re.compile(r"batch size (\d+) > maximum allowed batch size (\d+)", re.IGNORECASE)


class Tei(Dialect):
    """What every modality's TEI dialect shares.  `items`: the member that holds what it counts."""

    family = "tei"
    items: ClassVar[str] = "input"

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """424 is a fault of its own; too many items at once is said with the way out."""
        message = engine_message(body)
        if found := _BATCH.search(message):
            reason = (
                f"'{self.items}': the engine takes at most {found.group(2)} at once, and got "
                f"{found.group(1)}; the operator sets 'batch' of the model to that"
            )
            return Refused(self.items, "array_above_max_length", reason)
        if status == 424:
            return UpstreamFailed("the engine's model failed")
        return super().refusal(status, headers, body)


def tokens_read(headers: Mapping[str, str]) -> int | None:
    """Tokens of a whole call, which TEI says in a header; None when it does not."""
    said = headers.get("x-compute-tokens", "").strip()
    return told(int(said)) if said.isascii() and said.isdecimal() and len(said) < 16 else None


def taken_at_once(families: Collection[str], at_most: int) -> int:
    """Inputs that go out in one call of a model, where its operator does not say how many."""
    return min(at_most, TAKES) if Tei.family in families else at_most
