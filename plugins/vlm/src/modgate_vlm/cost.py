"""What an image costs in tokens, and the size that the engine computes with, by model family.

Also runs in decoder processes, so it imports no part of the gateway.

Source: wire.md 3.2 (the formulas and their vectors); for the pan and scan of Gemma 3,
transformers' `Gemma3ImageProcessor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from math import ceil, floor, sqrt
from typing import NamedTuple

Size = tuple[int, int]

TILE, LONG, SHORT = 512, 2048, 768  # openai_tiles
PATCH, PATCHES = 32, 1536  # openai_patches
MERGED: Mapping[str, int] = {"qwen2_vl": 28, "qwen2.5_vl": 28, "qwen3_vl": 32}
PIXELS: Mapping[str, Size] = {
    "qwen2_vl": (3136, 1_003_520),
    "qwen2.5_vl": (3136, 1_003_520),
    "qwen3_vl": (65_536, 16_777_216),
}
ASPECT = 200
CLIP, CLIP_GRID, CLIP_TOKENS = 336, 24, 576  # llava
PINPOINTS = ((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336))  # width, height
INTERN, INTERN_TOKENS = 448, 256
GEMMA, GEMMA_TOKENS = 896, 256
CROP_LEAST, CROPS, CROP_ASPECT = 256, 4, 1.2
PIXTRAL, PIXTRAL_PATCH = 1024, 16
PIXELS_PER_TOKEN = 750
LOW_PIXELS = 512 * 512
WORTH = 0.9  # of the pixels: a picture that would lose less than a tenth of them is left alone


class TooNarrow(ValueError):
    """The engine refuses a picture that is this much longer than it is wide."""


class Family(NamedTuple):
    """A model's family and its numbers, as plain values."""

    name: str = "area"
    fixed_tokens: int = 256
    base_tokens: int = 85
    tile_tokens: int = 170
    multiplier: float = 1.0
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_tiles: int = 12
    pan_and_scan: bool = False


def image_tokens(width: int, height: int, family: Family, detail: str = "auto") -> int:
    """Tokens of an image of this size, after its orientation was applied; or TooNarrow.

    With low detail: of the picture that `computed_size` makes of it.
    """
    if detail == "low":
        if family.name == "openai_tiles":
            return family.base_tokens
        width, height = _capped(width, height)
    return _FAMILIES[family.name].tokens(width, height, family)


def computed_size(width: int, height: int, family: Family, detail: str = "auto") -> Size:
    """The size to send: that which the engine would compute anyway, else the image's own.

    Never larger; of the same cost; and a picture of that size is sent as it is.
    """
    size = _capped(width, height) if detail == "low" else (width, height)
    return next(_cheaper(size, family), size)


def _cheaper(given: Size, family: Family) -> Iterator[Size]:
    """Sizes of the same cost with fewer pixels, if it is worth it; or TooNarrow."""
    cost = image_tokens(*given, family)
    for size in _FAMILIES[family.name].sizes(*given, family):
        fits = 0 < size[0] <= given[0] and 0 < size[1] <= given[1]
        if not fits or size[0] * size[1] > WORTH * given[0] * given[1]:
            continue
        with suppress(TooNarrow):  # by rounding
            if image_tokens(*size, family) == cost:
                yield size


def _capped(width: int, height: int) -> Size:
    """At most 512 x 512 pixels, of the same shape."""
    if width * height <= LOW_PIXELS:
        return width, height
    scale = sqrt(LOW_PIXELS / (width * height))
    wide, high = max(1, floor(width * scale)), max(1, floor(height * scale))
    return min(wide, LOW_PIXELS // high) or 1, min(high, LOW_PIXELS // wide) or 1


def _fit(width: float, height: float) -> tuple[float, float]:
    """Into 2048 x 2048, then to a short side of 768."""
    if max(width, height) > LONG:
        scale = LONG / max(width, height)
        width, height = width * scale, height * scale
    if min(width, height) > SHORT:
        scale = SHORT / min(width, height)
        width, height = width * scale, height * scale
    return round(width, 6), round(height, 6)


def _tiles(width: int, height: int, family: Family) -> int:
    wide, high = _fit(width, height)
    return family.base_tokens + family.tile_tokens * ceil(wide / TILE) * ceil(high / TILE)


def _tile_sizes(width: int, height: int, family: Family) -> Iterable[Size]:
    wide, high = _fit(width, height)
    sides = ((round(wide), floor(wide), ceil(wide)), (round(high), floor(high), ceil(high)))
    return product(*sides)


def _patched(width: int, height: int) -> Size:
    """The size of at most 1536 patches of 32 pixels."""
    if ceil(width / PATCH) * ceil(height / PATCH) <= PATCHES:
        return width, height
    scale = sqrt(PATCH * PATCH * PATCHES / (width * height))
    wide, high = width * scale / PATCH, height * scale / PATCH
    scale *= min(max(1, floor(wide)) / wide, max(1, floor(high)) / high)
    return max(1, floor(round(width * scale, 6))), max(1, floor(round(height * scale, 6)))


def _patches(width: int, height: int, family: Family) -> int:
    wide, high = _patched(width, height)
    count = min(PATCHES, ceil(wide / PATCH) * ceil(high / PATCH))
    return ceil(round(count * family.multiplier, 6))


def _bounds(family: Family) -> Size:
    least, most = PIXELS[family.name]
    least = least if family.min_pixels is None else family.min_pixels
    return least, most if family.max_pixels is None else family.max_pixels


def smart_resize(width: int, height: int, family: Family) -> Size:
    """The size that Qwen's models compute with: multiples of their factor within bounds."""
    if max(width, height) > ASPECT * min(width, height):
        raise TooNarrow(f"the image's longer side is more than {ASPECT} times the shorter")
    factor = MERGED[family.name]
    least, most = _bounds(family)
    wide = max(factor, round(width / factor) * factor)
    high = max(factor, round(height / factor) * factor)
    if wide * high > most:
        scale = sqrt(width * height / most)
        wide = max(factor, floor(width / scale / factor) * factor)
        high = max(factor, floor(height / scale / factor) * factor)
    elif wide * high < least:
        scale = sqrt(least / (width * height))
        wide = ceil(width * scale / factor) * factor
        high = ceil(height * scale / factor) * factor
    return wide, high


def _merged(width: int, height: int, family: Family) -> int:
    factor = MERGED[family.name]
    wide, high = smart_resize(width, height, family)
    return (wide // factor) * (high // factor)


def _short_side(width: int, height: int) -> Size:
    """Scaled to a short side of 336: what the crop, and the padding, begin with."""
    scale = CLIP / min(width, height)
    return max(CLIP, round(width * scale)), max(CLIP, round(height * scale))


def _pinpoint(width: int, height: int) -> Size:
    """The grid with the most of the picture in it, then the least waste."""

    def fitness(grid: Size) -> tuple[int, int]:
        scale = min(grid[0] / width, grid[1] / height)
        seen = min(int(width * scale) * int(height * scale), width * height)
        return seen, seen - grid[0] * grid[1]

    return max(PINPOINTS, key=fitness)


def _letterboxed(width: int, height: int) -> Size:
    grid = _pinpoint(width, height)
    scale_w, scale_h = grid[0] / width, grid[1] / height
    if scale_w < scale_h:
        return grid[0], min(ceil(round(height * scale_w, 6)), grid[1])
    return min(ceil(round(width * scale_h, 6)), grid[0]), grid[1]


def _any_resolution(width: int, height: int) -> int:
    """The whole picture, its tiles without their padding, and a newline a row."""
    grid = _pinpoint(width, height)
    columns, rows = CLIP_GRID * grid[0] // CLIP, CLIP_GRID * grid[1] // CLIP
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        rows -= 2 * ((rows - kept) // 2)
    else:
        kept = int(round(width * (rows / height), 7))
        columns -= 2 * ((columns - kept) // 2)
    return rows * columns + rows + CLIP_TOKENS


def _grid(width: int, height: int, most: int) -> Size:
    """The columns and rows whose shape is nearest the picture's; of equals, the larger fitting."""
    aspect, best, nearest = width / height, (1, 1), float("inf")
    grids = [(i, j) for i in range(1, most + 1) for j in range(1, most // i + 1)]
    for i, j in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(aspect - i / j)
        larger = width * height > 0.5 * INTERN * INTERN * i * j
        if distance < nearest or (distance == nearest and larger):
            best, nearest = (i, j), distance
    return best


def _interned(width: int, height: int, family: Family) -> int:
    columns, rows = _grid(width, height, family.max_tiles)
    count = columns * rows
    return INTERN_TOKENS * (count + (1 if count > 1 else 0))


def _intern_size(width: int, height: int, family: Family) -> Size:
    columns, rows = _grid(width, height, family.max_tiles)
    return columns * INTERN, rows * INTERN


def _crops(long: int, short: int) -> int:
    """How many crops pan and scan makes along the long side."""
    if long / short < CROP_ASPECT:
        return 0
    count = min(CROPS, max(2, min(floor(long / CROP_LEAST), floor(long / short + 0.5))))
    return count if min(ceil(long / count), short) >= CROP_LEAST else 0


def _gemma(width: int, height: int, family: Family) -> int:
    crops = _crops(max(width, height), min(width, height)) if family.pan_and_scan else 0
    return GEMMA_TOKENS * (1 + crops)


def _gemma_sizes(width: int, height: int, family: Family) -> Iterable[Size]:
    return () if family.pan_and_scan else ((GEMMA, GEMMA),)


def _fitted(width: int, height: int) -> Size:
    """Into a long side of 1024."""
    scale = max(width, height) / PIXTRAL
    if scale <= 1:
        return width, height
    return max(1, round(width / scale)), max(1, round(height / scale))


def _rows_of_patches(width: int, height: int, family: Family) -> int:
    wide, high = _fitted(width, height)
    return ceil(high / PIXTRAL_PATCH) * (ceil(wide / PIXTRAL_PATCH) + 1)


class _Rule(NamedTuple):
    tokens: Callable[[int, int, Family], int]
    sizes: Callable[[int, int, Family], Iterable[Size]] = lambda w, h, family: ()


_FAMILIES: Mapping[str, _Rule] = {
    "openai_tiles": _Rule(_tiles, _tile_sizes),
    "openai_patches": _Rule(_patches, lambda w, h, family: (_patched(w, h),)),
    **{name: _Rule(_merged, lambda w, h, family: (smart_resize(w, h, family),)) for name in MERGED},
    "llava-1.5": _Rule(lambda w, h, family: CLIP_TOKENS, lambda w, h, f: (_short_side(w, h),)),
    "llava-next": _Rule(
        lambda w, h, family: _any_resolution(w, h), lambda w, h, family: (_letterboxed(w, h),)
    ),
    "internvl": _Rule(_interned, lambda w, h, family: (_intern_size(w, h, family),)),
    "gemma3": _Rule(_gemma, _gemma_sizes),
    "pixtral": _Rule(_rows_of_patches, lambda w, h, family: (_fitted(w, h),)),
    "fixed": _Rule(lambda w, h, family: family.fixed_tokens),
    "area": _Rule(lambda w, h, family: max(1, ceil(w * h / PIXELS_PER_TOKEN))),
}
