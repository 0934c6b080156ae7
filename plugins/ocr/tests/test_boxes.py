"""What an engine says of places on a page."""

from __future__ import annotations

import pytest

from modgate.plugin import BadReply, Json
from modgate_ocr.boxes import Box, box_of


@pytest.mark.parametrize("value", [[1, 2.5, 3, 4], [[1, 4], [3, 4], [3, 2.5], [1, 2.5]]])
def test_a_box_is_four_numbers_or_points(value: Json) -> None:
    assert box_of(value) == Box(left=1, top=2.5, right=3, bottom=4)


@pytest.mark.parametrize("far", [1e308, -1e308, 1 << 63])
@pytest.mark.parametrize("at", range(4))
def test_a_box_that_no_page_can_hold_is_a_bad_reply(far: float, at: int) -> None:
    corners: list[Json] = [1, 2, 3, 4]
    corners[at] = far

    with pytest.raises(BadReply, match="on the page"):
        box_of(corners)
    with pytest.raises(BadReply, match="on the page"):
        box_of([corners[:2], corners[2:], [1, 2], [3, 4]])
