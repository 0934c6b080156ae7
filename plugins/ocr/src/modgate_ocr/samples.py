"""Requests with their engines' replies: the contract, the docs and `modgate try` run on them."""

from __future__ import annotations

import base64
import struct
import zlib

from modgate.plugin import Json, JsonObject, Sample, Units

PATH = "/v1/ocr"


def png(width: int, height: int) -> bytes:
    """A white picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff" * width) * height)
    front = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return front + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def data_url(kind: str, data: bytes) -> str:
    """A document as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


_IMAGE = data_url("image/png", png(40, 20))
_LINES = (
    b'{"width":40,"height":20,"lines":[{"text":"world","box":[[20,2],[38,2],[38,9],[20,9]],'
    b'"score":0.9},{"text":"Hello","box":[[2,2],[18,2],[18,9],[2,9]],"score":0.95}]}'
)
_USAGE = Units(pages=1, image_pixels=800)


def _reply(text: str, size: int) -> JsonObject:
    page: JsonObject = {
        "index": 0,
        "markdown": text,
        "images": [],
        "dimensions": {"dpi": 72, "height": 20, "width": 40},
        "tables": [],
        "hyperlinks": [],
        "header": None,
        "footer": None,
        "blocks": None,
    }
    usage = {"pages_processed": 1, "doc_size_bytes": size}
    return {"pages": [page], "model": "m", "document_annotation": None, "usage_info": usage}


def _sample(document: Json, upstream: bytes, text: str, **more: Json) -> Sample:
    asked = {"model": "m", "document": document, **more}
    reply = _reply(text, len(png(40, 20)))
    return Sample(path=PATH, json=asked, upstream=[upstream], reply=reply, usage=_USAGE)


SAMPLES = (
    _sample({"type": "image_url", "image_url": _IMAGE}, _LINES, "Hello world"),
    _sample({"type": "image_url", "image_url": {"url": _IMAGE}}, _LINES, "Hello world", pages=[0]),
    _sample(
        {"type": "document_url", "document_url": _IMAGE},
        b'{"width":40,"height":20,"markdown":"# Hello"}',
        "# Hello",
        include_blocks=True,
    ),
)
