"""What an image costs in tokens, by model family: exact where the family is, else an estimate.

Source: wire.md 3.2.
"""

from __future__ import annotations

from math import ceil, floor, sqrt

from modgate_vlm.config import Facts

TILE, LONG, SHORT = 512, 2048, 768
PATCH = 28
PIXELS_PER_TOKEN = 750
ASPECT_AT_MOST = 200


def image_tokens(width: int, height: int, facts: Facts, detail: str = "auto") -> int:
    """Tokens of an image of this size, after its orientation was applied."""
    match facts.image_tokens:
        case "fixed":
            return facts.fixed_tokens
        case "tiles":
            count = 0 if detail == "low" else tiles(width, height)
            return facts.base_tokens + facts.tile_tokens * count
        case "qwen2_vl":
            wide, high = smart_resize(width, height, facts.min_pixels, facts.max_pixels)
            return (wide // PATCH) * (high // PATCH)
        case "area":
            return max(1, ceil(width * height / PIXELS_PER_TOKEN))


def tiles(width: float, height: float) -> int:
    """How many 512-pixel tiles an image has once it is fit into 2048 and to a short side of 768."""
    if max(width, height) > LONG:
        scale = LONG / max(width, height)
        width, height = width * scale, height * scale
    if min(width, height) > SHORT:
        scale = SHORT / min(width, height)
        width, height = width * scale, height * scale
    return ceil(round(width, 6) / TILE) * ceil(round(height, 6) / TILE)


def smart_resize(width: int, height: int, least: int, most: int) -> tuple[int, int]:
    """The size that Qwen2-VL computes with: multiples of 28 within bounds of pixels."""
    if max(width, height) > ASPECT_AT_MOST * min(width, height):
        return PATCH, PATCH  # the engine refuses it; the reserve need not be right
    wide = max(PATCH, round(width / PATCH) * PATCH)
    high = max(PATCH, round(height / PATCH) * PATCH)
    if wide * high > most:
        scale = sqrt(width * height / most)
        wide = max(PATCH, floor(width / scale / PATCH) * PATCH)
        high = max(PATCH, floor(height / scale / PATCH) * PATCH)
    elif wide * high < least:
        scale = sqrt(least / (width * height))
        wide = ceil(width * scale / PATCH) * PATCH
        high = ceil(height * scale / PATCH) * PATCH
    return wide, high
