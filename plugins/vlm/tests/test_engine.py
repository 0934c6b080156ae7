"""What the composite says around its description."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from PIL import Image

from modgate.kit.serve import Chunked, Incoming
from modgate.plugin import Json, JsonObject, Refused
from modgate_vlm.engine import VisionComposite
from modgate_vlm.samples import IMAGE


def answered(tmp_path: Path, url: str, **more: Json) -> Json | Chunked:
    engine = VisionComposite(tmp_path, 1)
    engine._describer = SimpleNamespace(describe=lambda data: "a page")
    part = {"type": "image_url", "image_url": {"url": url}}
    fields: JsonObject = {"messages": [{"role": "user", "content": [part]}], **more}
    return engine._chat(Incoming(fields=fields))


def test_a_reply_is_of_now_and_counts_pixels_not_bytes(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (300, 250)).save(out, "PNG")
    url = IMAGE.partition(",")[0] + "," + base64.b64encode(out.getvalue()).decode()
    before = int(time.time())
    reply = answered(tmp_path, url)

    assert not isinstance(reply, Chunked)
    assert before <= reply["created"] <= time.time()
    assert reply["usage"]["prompt_tokens"] == 100


def test_a_stream_has_one_time(tmp_path: Path) -> None:
    before = int(time.time())
    reply = answered(tmp_path, IMAGE, stream=True)
    assert isinstance(reply, Chunked)
    events = [piece for piece in reply.pieces if piece.startswith(b"data: {")]
    made = {orjson.loads(event[6:])["created"] for event in events}

    assert len(made) == 1
    assert before <= made.pop() <= time.time()


def test_as_many_choices_are_made_as_were_asked_for(tmp_path: Path) -> None:
    whole = answered(tmp_path, IMAGE, n=3)
    streamed = answered(tmp_path, IMAGE, n=3, stream=True)
    assert not isinstance(whole, Chunked)
    assert isinstance(streamed, Chunked)
    events = [orjson.loads(piece[6:]) for piece in streamed.pieces if piece[:7] == b"data: {"]
    finished = [c["index"] for e in events for c in e["choices"] if c["finish_reason"]]

    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert finished == [0, 1, 2]
    assert whole["usage"] == events[-1]["usage"]


@pytest.mark.parametrize("stop", ["page", ["no such thing", "page", "a page"]], ids=str)
def test_a_reply_ends_before_a_stop_string(tmp_path: Path, stop: Json) -> None:
    reply = answered(tmp_path, IMAGE, stop=stop)
    assert not isinstance(reply, Chunked)
    [choice] = reply["choices"]

    assert "page" not in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    assert choice["stop_reason"] in stop


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
    ],
    ids=str,
)
def test_what_a_template_cannot_give_is_refused(
    tmp_path: Path, asked: JsonObject, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        answered(tmp_path, IMAGE, **asked)

    assert caught.value.field == field
    answered(tmp_path, IMAGE, response_format={"type": "text"}, logprobs=False)
