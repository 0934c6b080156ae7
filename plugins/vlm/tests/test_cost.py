"""The vectors of the published formulas, and what a picture that was scaled down costs."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modgate_vlm.config import Facts
from modgate_vlm.cost import (
    LOW_PIXELS,
    Family,
    TooNarrow,
    computed_size,
    image_tokens,
    smart_resize,
)

FAMILIES = get_args(Facts.model_fields["image_tokens"].annotation)
LARGE = 12_845_056


@pytest.mark.parametrize(
    ("base", "tile", "width", "height", "tokens"),
    [
        (85, 170, 1024, 1024, 765),
        (85, 170, 2048, 4096, 1105),
        (85, 170, 512, 512, 255),
        (85, 170, 3000, 1000, 1445),
        (70, 140, 1024, 1024, 630),
        (75, 150, 1024, 1024, 675),
        (2833, 5667, 512, 512, 8500),
    ],
)
def test_a_picture_costs_its_openai_tiles(
    base: int, tile: int, width: int, height: int, tokens: int
) -> None:
    family = Family(name="openai_tiles", base_tokens=base, tile_tokens=tile)

    assert image_tokens(width, height, family) == tokens


def test_low_detail_costs_the_base_else_what_few_pixels_of_the_same_shape_cost() -> None:
    assert image_tokens(4000, 4000, Family(name="openai_tiles"), "low") == 85
    assert image_tokens(3000, 1000, Family(name="pixtral"), "low") == 19 * (56 + 1)
    assert computed_size(300_000, 1, Family(), "low") == (LOW_PIXELS, 1)
    assert computed_size(1, 300_000, Family(), "low") == (1, LOW_PIXELS)


@pytest.mark.parametrize(
    ("multiplier", "width", "height", "tokens"),
    [
        (1, 1024, 1024, 1024),
        (1, 1800, 2400, 1452),
        (1, 4000, 3000, 1452),
        (1, 33, 33, 4),
        (1.62, 1024, 1024, 1659),
        (2.46, 33, 33, 10),
        (1.72, 1800, 2400, 2498),
        (1, 20, 60_000, 1536),
        (1, 2_000_000, 1, 1536),
    ],
)
def test_a_picture_costs_its_openai_patches(
    multiplier: float, width: int, height: int, tokens: int
) -> None:
    family = Family(name="openai_patches", multiplier=multiplier)

    assert image_tokens(width, height, family) == tokens


@pytest.mark.parametrize(
    ("family", "size", "computed", "tokens"),
    [
        (Family(name="qwen2_vl"), (1000, 1000), (980, 980), 1225),
        (Family(name="qwen2_vl"), (1920, 1080), (1316, 728), 1222),
        (Family(name="qwen2_vl"), (640, 480), (644, 476), 391),
        (Family(name="qwen2_vl"), (3000, 2000), (1204, 812), 1247),
        (Family(name="qwen2_vl"), (100, 50), (112, 56), 8),
        (Family(name="qwen2_vl"), (28, 28), (56, 56), 4),
        (Family(name="qwen2.5_vl", max_pixels=LARGE), (1000, 1000), (1008, 1008), 1296),
        (Family(name="qwen2.5_vl", max_pixels=LARGE), (1920, 1080), (1932, 1092), 2691),
        (Family(name="qwen2.5_vl", max_pixels=LARGE), (3000, 2000), (2996, 1988), 7597),
        (Family(name="qwen3_vl"), (1920, 1080), (1920, 1088), 2040),
        (Family(name="qwen3_vl"), (640, 480), (640, 480), 300),
        (Family(name="qwen3_vl"), (100, 50), (384, 192), 72),
        (Family(name="qwen3_vl", min_pixels=4096), (100, 50), (96, 64), 6),
    ],
)
def test_a_picture_is_resized_and_costs_as_qwen_does_it(
    family: Family, size: tuple[int, int], computed: tuple[int, int], tokens: int
) -> None:
    assert (smart_resize(*size, family), image_tokens(*size, family)) == (computed, tokens)


def test_what_qwen_refuses_for_its_shape_has_no_cost() -> None:
    with pytest.raises(TooNarrow):
        image_tokens(2010, 10, Family(name="qwen2_vl"))


@pytest.mark.parametrize(
    ("name", "width", "height", "tokens"),
    [
        ("llava-1.5", 336, 336, 576),
        ("llava-1.5", 4000, 30, 576),
        ("llava-next", 336, 336, 1176),
        ("llava-next", 640, 480, 2340),
        ("llava-next", 1000, 1000, 2928),
        ("llava-next", 1920, 1080, 1948),
        ("llava-next", 500, 1500, 2376),
        ("llava-next", 3000, 800, 2036),
        ("internvl", 448, 448, 256),
        ("internvl", 800, 600, 3328),
        ("internvl", 1000, 1000, 2560),
        ("internvl", 1920, 1080, 2304),
        ("internvl", 6000, 500, 13 * 256),
        ("internvl", 500, 6000, 13 * 256),
        ("internvl", 448, 896, 3 * 256),
        ("gemma3", 3000, 100, 256),
        ("pixtral", 1024, 1024, 64 * 65),
        ("pixtral", 2048, 1024, 32 * 65),
        ("pixtral", 17, 16, 3),
        ("fixed", 3000, 100, 256),
        ("area", 1500, 1000, 2000),
        ("area", 1, 1, 1),
    ],
)
def test_a_picture_costs_what_its_family_makes_of_it(
    name: str, width: int, height: int, tokens: int
) -> None:
    assert image_tokens(width, height, Family(name=name)) == tokens


@pytest.mark.parametrize(
    ("width", "height", "crops"),
    [(896, 896, 0), (1200, 1000, 2), (3000, 1000, 3), (1000, 9000, 4), (400, 300, 0)],
)
def test_pan_and_scan_costs_its_crops(width: int, height: int, crops: int) -> None:
    family = Family(name="gemma3", pan_and_scan=True)

    assert image_tokens(width, height, family) == 256 * (1 + crops)


@pytest.mark.parametrize(
    ("name", "size", "sent"),
    [
        ("qwen2_vl", (3000, 2000), (1204, 812)),
        ("qwen2_vl", (1000, 1000), (1000, 1000)),
        ("openai_tiles", (2048, 4096), (768, 1536)),
        ("openai_patches", (1800, 2400), (1056, 1408)),
        ("llava-1.5", (1000, 2000), (336, 672)),
        ("llava-next", (1920, 1080), (672, 378)),
        ("llava-next", (1080, 1920), (378, 672)),
        ("internvl", (2000, 1900), (1344, 1344)),
        ("gemma3", (3000, 2000), (896, 896)),
        ("pixtral", (3000, 2000), (1024, 683)),
        ("openai_tiles", (2426, 4853), (768, 1537)),
        ("openai_tiles", (1, 9000), (1, 2048)),
        ("llava-next", (332, 3428), (332, 3428)),
        ("qwen2_vl", (35, 6592), (35, 6592)),
        ("fixed", (3000, 2000), (3000, 2000)),
        ("area", (3000, 2000), (3000, 2000)),
    ],
)
def test_the_size_that_is_sent(name: str, size: tuple[int, int], sent: tuple[int, int]) -> None:
    assert computed_size(*size, Family(name=name)) == sent


def test_scaling_down_twice_changes_nothing_and_the_cost_stays() -> None:
    sides = st.integers(1, 9000)

    @settings(
        max_examples=300,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.sampled_from(FAMILIES), sides, sides, st.sampled_from(("auto", "low")))
    def holds(name: str, width: int, height: int, detail: str) -> None:
        family = Family(name=name, multiplier=1.62)
        try:
            before = image_tokens(width, height, family, detail)
        except TooNarrow:
            return
        size = computed_size(width, height, family, detail)

        assert size[0] <= width
        assert size[1] <= height
        assert computed_size(*size, family, detail) == size
        assert image_tokens(*size, family, detail) == before
        if detail == "low":
            assert size[0] * size[1] <= LOW_PIXELS

    holds()
