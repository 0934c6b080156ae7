"""Infinity: what it counts where tokens are asked for.

Source: michaelfeil/infinity, libs/infinity_emb/infinity_emb/transformer/utils.py; its replies at
0.0.78.
"""

from __future__ import annotations


def characters(text: str) -> int:
    """The length of a text by which it bills, unless it was started with `--lengths-via-tokenize`.

    It takes the blanks at both ends off first.
    """
    return len(text.strip())
