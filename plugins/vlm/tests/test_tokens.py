"""The vectors of the published formulas."""

from __future__ import annotations

import pytest

from modgate_vlm.config import Facts
from modgate_vlm.tokens import image_tokens


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(1024, 1024, 765), (2048, 4096, 1105), (512, 512, 255), (3000, 1000, 1445)],
)
def test_tiles(width: int, height: int, tokens: int) -> None:
    assert image_tokens(width, height, Facts(image_tokens="tiles")) == tokens


def test_low_detail_costs_the_base() -> None:
    assert image_tokens(4000, 4000, Facts(image_tokens="tiles"), "low") == 85


@pytest.mark.parametrize(
    ("width", "height", "most", "tokens"),
    [
        (1000, 1000, 1_003_520, 1225),
        (1920, 1080, 1_003_520, 1222),
        (640, 480, 1_003_520, 391),
        (3000, 2000, 1_003_520, 1247),
        (100, 50, 1_003_520, 8),
        (28, 28, 1_003_520, 4),
        (1000, 1000, 12_845_056, 1296),
        (1920, 1080, 12_845_056, 2691),
        (3000, 2000, 12_845_056, 7597),
    ],
)
def test_smart_resize(width: int, height: int, most: int, tokens: int) -> None:
    facts = Facts(image_tokens="qwen2_vl", max_pixels=most)

    assert image_tokens(width, height, facts) == tokens
