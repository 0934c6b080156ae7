"""What the code of a plugin may do, and must not do harm."""

from __future__ import annotations

# What it may raise: a library that ends its process ends one request.
RAISED = (Exception, SystemExit, KeyboardInterrupt)


def said(text: str) -> str:
    """A text that every format can hold; TypeError for none: its ledger row could not be read."""
    if not isinstance(text, str):
        raise TypeError(f"an error says a text, and not {type(text).__name__}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
