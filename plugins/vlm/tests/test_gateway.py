"""Pictures through a whole gateway, decoded in its decoder processes."""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import ClientSession
from PIL import Image

from modgate.plugin import Json
from modgate.testing import FakeBackend, Gateway, Scripted
from modgate_vlm.decode import ORIENTATION

CHAT = "/v1/chat/completions"
REPLY = (
    b'{"id":"c1","object":"chat.completion","created":7,"model":"engine-m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"a wall"},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":90,"completion_tokens":2,"total_tokens":92,"prompt_tokens_details":'
    b'{"multimodal_tokens":{"image":70}}}}'
)


def asked(data: bytes) -> Json:
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    part = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    return {"model": "m", "messages": [{"role": "user", "content": [part]}], "max_tokens": 8}


async def test_a_lying_picture_stands_up_and_a_damaged_one_costs_nothing(
    gateway: Callable[..., Awaitable[Gateway]], fake_backend: FakeBackend
) -> None:
    exif, out = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = 6
    Image.new("RGB", (1200, 600), (200, 30, 30)).save(out, "JPEG", exif=exif.tobytes())
    fake_backend.answer(CHAT, Scripted(reply=REPLY))
    running = await gateway("vlm", family="vllm")
    async with ClientSession(running.url, headers=running.headers) as client:
        async with client.post(CHAT, json=asked(out.getvalue())) as reply:
            good, units = reply.status, reply.headers["x-modgate-units"]
        async with client.post(CHAT, json=asked(out.getvalue()[:-900])) as reply:
            bad, error = reply.status, orjson.loads(await reply.read())["error"]

    [call] = fake_backend.calls
    url = call.json()["messages"][0]["content"][0]["image_url"]["url"]
    front, _, packed = url.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(packed)))
    assert (good, front, image.size) == (200, "data:image/jpeg;base64", (362, 724))
    counted = dict(each.split("=") for each in units.split(";"))
    assert (counted["images"], counted["image_tokens"]) == ("1", "70")
    assert counted["image_pixels"] == "720000"
    assert (bad, error["code"]) == (400, "invalid_image_format")
    assert error["param"] == "messages[0].content[0].image_url.url"
