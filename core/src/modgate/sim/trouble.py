"""What is told to whoever simulates, and is nobody's traceback."""

from __future__ import annotations


class Trouble(Exception):
    """Receipts or a configuration that cannot be simulated with; the text says which and why."""
