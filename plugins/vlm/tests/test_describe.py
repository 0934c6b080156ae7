"""What the composite calls a colour."""

from __future__ import annotations

import pytest
from PIL import Image

from modgate_vlm.describe import colours


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((135, 206, 235), "blue"),  # sky
        ((200, 225, 245), "blue"),  # a pale sky
        ((0, 0, 128), "blue"),
        ((70, 130, 180), "blue"),
        ((0, 0, 255), "blue"),
        ((0, 255, 255), "blue"),
        ((0, 255, 0), "green"),
        ((250, 250, 250), "white"),
        ((245, 245, 235), "white"),
        ((160, 160, 160), "grey"),
        ((0, 100, 0), "green"),
        ((144, 238, 144), "green"),
        ((220, 20, 60), "red"),
        ((128, 0, 0), "red"),
        ((255, 165, 0), "orange"),
        ((255, 255, 0), "yellow"),
        ((255, 192, 203), "pink"),
        ((128, 0, 128), "purple"),
        ((230, 230, 250), "white"),
        ((139, 69, 19), "brown"),
        ((10, 10, 10), "black"),
    ],
)
def test_a_plain_page_has_the_name_of_its_colour(rgb: tuple[int, int, int], name: str) -> None:
    assert colours(Image.new("RGB", (8, 8), rgb)) == [(name, 1.0)]
