"""Image tokens: the engine's count first, else the family's formula."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import Event, JsonObject, Outcome, Units
from modgate_vlm.relay import PictureRelay

PICTURES = Units(images=1, image_pixels=512)
SAYS: JsonObject = {"prompt_tokens_details": {"image_tokens": 7}}


def billed(usage: JsonObject, formula: int | None, extra: Units | None = PICTURES) -> int | None:
    relay = PictureRelay(
        stream=False, include_usage=False, prompt=50, extra=extra, image_tokens=formula
    )
    asked = {"prompt_tokens": 30, "completion_tokens": 2, **usage}
    tuple(relay.feed(0, Event(orjson.dumps({"choices": [], "usage": asked}))))
    return relay.usage([Outcome(state="ok")]).units.get("image_tokens")


@pytest.mark.parametrize(
    ("usage", "formula", "tokens"),
    [
        (SAYS, 20, 7),
        (SAYS, None, 7),
        ({}, 20, 20),
        ({}, 40, 30),
        ({}, None, None),
    ],
)
def test_the_engine_is_believed_and_the_formula_is_within_the_prompt(
    usage: JsonObject, formula: int | None, tokens: int | None
) -> None:
    assert billed(usage, formula) == tokens


def test_a_chat_without_pictures_has_no_image_tokens() -> None:
    assert billed({}, 0, None) is None


def test_before_the_engine_said_anything_no_picture_is_billed() -> None:
    relay = PictureRelay(
        stream=True, include_usage=True, prompt=50, extra=PICTURES, image_tokens=20
    )

    assert dict(relay.usage([Outcome(state="pending")]).units) == {"output_tokens": 0}
