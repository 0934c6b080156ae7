"""A chat with pictures as it goes to an engine."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from PIL import Image

from modgate.api.surface import Surface
from modgate.plugin import Body, Call, Json, Model, Refused, Request, Sample
from modgate.testing import Rig
from modgate_vlm.config import Config, Facts
from modgate_vlm.modality import CHAT, Vlm

Shaped = Callable[..., Call]


def png(width: int = 32, height: int = 16, kind: str = "PNG") -> str:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


def part(url: str, **more: Json) -> Json:
    return {"type": "image_url", "image_url": {"url": url, **more}}


@pytest.fixture
def shaped(tmp_path: Path) -> Shaped:
    def call(*parts: Json, config: Config | None = None, answers: Json = (), **facts: Json) -> Call:
        content = [{"type": "text", "text": "What is it?"}, *parts]
        body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 8}
        sample = Sample(path=CHAT, json=body, facts=facts, answers=answers)
        with Rig(Vlm(config or Config()), tmp_path) as rig:
            [made] = rig.plan(sample).calls
            return made

    return call


def sent(call: Call, index: int = 1) -> Json:
    messages = orjson.loads(bytes(call.body.content))["messages"]
    return messages[0]["content"][index]["image_url"]


@pytest.mark.parametrize(("isolated", "named"), [(True, "a1"), (False, "")])
def test_a_call_says_whose_it_is_unless_caches_may_be_shared(isolated: bool, named: str) -> None:
    raw: Json = {"model": "m", "messages": [{"role": "user", "content": "What is it?"}]}
    request = Request(
        id="req_1",
        path=CHAT,
        model=Model(name="m", modality="vlm", facts=Facts()),
        asked="m",
        body=Body.json(orjson.dumps(raw)),
        surface=Surface(),
        parsed=raw,
        isolation="a1",
    )
    with pytest.raises(StopIteration) as made:
        next(Vlm(Config(isolate_caches=isolated)).shape(request))

    [call] = made.value.value.calls

    assert call.isolation == named
    assert set(call.size) == {"input_tokens", "output_tokens"}  # there is no picture


def test_a_picture_that_fits_travels_as_the_clients_own_bytes(shaped: Shaped) -> None:
    url = f"data:image/png;base64,{png()}"
    call = shaped(part(url, detail="high", more=1), image_tokens="openai_tiles")

    assert sent(call) == {"url": url, "detail": "high", "more": 1}
    shown = ("output_tokens", "images", "image_pixels", "image_tokens")
    assert {k: call.size[k] for k in shown} == {
        "output_tokens": 8,
        "images": 1,
        "image_pixels": 512,
        "image_tokens": 255,
    }


@pytest.mark.parametrize("declared", ["image/jpeg", "text/plain", "application/octet-stream"])
def test_the_first_bytes_are_believed_and_the_declared_type_is_put_right(
    shaped: Shaped, declared: str
) -> None:
    call = shaped(part(f"data:{declared};base64,{png()}"))

    assert sent(call)["url"] == f"data:image/png;base64,{png()}"


def test_a_large_picture_is_scaled_down_and_billed_as_it_was(shaped: Shaped) -> None:
    url = f"data:image/png;base64,{png(3000, 2000)}"
    small = shaped(part(url), image_tokens="qwen2_vl")
    whole = shaped(part(url), image_tokens="qwen2_vl", config=Config(downscale=False))
    data = base64.b64decode(sent(small)["url"].partition(",")[2])

    assert Image.open(io.BytesIO(data)).size == (1204, 812)
    assert sent(whole)["url"] == url
    assert small.size == whole.size
    assert (small.size["image_pixels"], small.size["image_tokens"]) == (6_000_000, 1247)


def test_other_parts_stay_where_they_are(shaped: Shaped) -> None:
    gif, own = png(kind="GIF"), f"data:image/png;base64,{png()}"
    call = shaped(part(own), part(f"data:image/gif;base64,{gif}"))

    assert sent(call, 1) == {"url": own}
    assert sent(call, 2)["url"].startswith("data:image/png;base64,")


def test_a_url_alone_reaches_the_engine_as_an_object(shaped: Shaped) -> None:
    url = f"data:image/png;base64,{png()}"
    call = shaped({"type": "image_url", "image_url": url}, part(url, detail="low"))

    assert sent(call, 1) == {"url": url}
    assert sent(call, 2) == {"url": url, "detail": "low"}
    with pytest.raises(Refused) as caught:
        shaped({"type": "image_url", "image_url": "no url"})
    assert caught.value.field == "messages[0].content[1].image_url"


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_a_fetched_picture_reaches_the_engine_as_a_data_uri(shaped: Shaped, scheme: str) -> None:
    call = shaped(part(f"{scheme}://a.example/x"), answers=[base64.b64decode(png())])

    assert sent(call)["url"] == f"data:image/png;base64,{png()}"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (png(), "invalid_image_url"),
        ("file:///etc/passwd", "invalid_image_url"),
        (f"data:image/png,{png()}", "invalid_image_url"),
        ("data:image/png;base64,!!!!", "invalid_image_format"),
        (f"data:image/png;base64,{png()}\u00e9", "invalid_image_format"),
        (f"data:image/png;base64,{png()[:-40]}", "invalid_image_format"),
        ("data:image/png;base64,aGVsbG8=", "invalid_image_format"),
    ],
)
def test_what_is_no_picture_is_refused_naming_it(shaped: Shaped, url: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        shaped(part(url))

    assert caught.value.code == code


def test_heic_is_refused_by_name(shaped: Shaped) -> None:
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
    with pytest.raises(Refused, match="heic"):
        shaped(part("data:image/heic;base64," + base64.b64encode(head).decode()))


def test_one_picture_too_many_is_refused(shaped: Shaped) -> None:
    one = part(f"data:image/png;base64,{png()}")

    assert shaped(*[one] * 20).size["images"] == 20
    with pytest.raises(Refused) as caught:
        shaped(*[one] * 21)
    assert caught.value.code == "too_many_images"


@pytest.mark.parametrize("config", [Config(image_bytes=1024), Config(image_pixels=80_000)])
def test_a_picture_beyond_a_bound_is_too_large(shaped: Shaped, config: Config) -> None:
    url = f"data:image/png;base64,{png(900, 900)}"
    with pytest.raises(Refused) as caught:
        shaped(part(url), config=config)

    assert caught.value.code == "image_too_large"
