"""What a policy that asks a model of this modality is billed."""

from __future__ import annotations

import orjson

from modgate.plugin import Body, Call, Event, Units
from modgate_vlm.config import Config
from modgate_vlm.modality import Vlm


def test_a_side_chat_costs_what_its_engine_says_and_the_pictures_that_were_sent() -> None:
    size = Units(
        input_tokens=90, output_tokens=50, images=1, image_pixels=640 * 480, image_tokens=80
    )
    call = Call(path="/v1/chat/completions", body=Body.of(messages=[]), size=size)
    choices = [{"index": 0, "message": {"role": "assistant", "content": "a cat"}}]
    counts = {"prompt_tokens": 100, "completion_tokens": 3}
    usage = Vlm(Config()).count(call, Event(orjson.dumps({"choices": choices, "usage": counts})))

    assert dict(usage.units) == {
        "input_tokens": 100,
        "output_tokens": 3,
        "images": 1,
        "image_pixels": 640 * 480,
        "image_tokens": 80,
    }
    assert (usage.exact, usage.by) == (True, "engine")
