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


def pdf(pages: int, link: str) -> bytes:
    """Empty pages of 72 by 36 points, each with a link on it."""
    kids = " ".join(f"{3 + 2 * page} 0 R" for page in range(pages))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {pages}>>"]
    for page in range(pages):
        below = "/Type/Page/Parent 2 0 R/MediaBox[0 0 72 36]"
        objects.append(f"<<{below}/Annots[{4 + 2 * page} 0 R]>>")
        action = f"/A<</S/URI/URI({link})>>"
        objects.append(f"<</Type/Annot/Subtype/Link/Rect[0 0 72 36]/Border[0 0 0]{action}>>")
    out, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj{each}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    rows = f"0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(out)}\n%%EOF"
    return (out + "xref\n" + rows + trailer).encode()


def data_url(kind: str, data: bytes) -> str:
    """A document as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


# "Hello world.", 256 by 64: `modgate try` sends it to a model that reads.
HELLO = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAQAAAABAAQAAAADdJpQTAAABEElEQVR42u3UsUocURQG4G9mhziFxaTbItF5BEuLCPe1"
    "hBTXKq2PNKiFpY8w6BZb3ojFrOx4U8TAjiwbsFP2lj8fB/5z4RTZ7lfagz14D8ih3YgvjRtg4fZDtMg1Vq3HMVz+Do83"
    "Vu0UPD9juXRAc3cnGNIUDBn9GmI3ZNLTFKQhct2x7v2KfnroN8BYhFmFwyMw/yGqmumERdkRG1WMx9qC23pLzSZTZO3L"
    "25qz3K1KqBkSzY5Flf/d5FUIW8FB7l6Dl10TBtJA2gLWkAoF+nILaEViYvHtQo/TYQrGEU/3YHmDdRrDJmgqnP2NziO+"
    "v/nuWqStiIQazeEUfJlhPqf+6uQE9b91FvtLuwefDvwBMLdVLPcbDX4AAAAASUVORK5CYII="
)
_PNG = png(40, 20)
_IMAGE = data_url("image/png", _PNG)
_LINK = "https://example.com/terms"
_PDF = pdf(2, _LINK)
_LINES = (
    b'{"width":40,"height":20,"lines":[{"text":"world","box":[[20,2],[38,2],[38,9],[20,9]],'
    b'"score":0.9},{"text":"Hello","box":[[2,2],[18,2],[18,9],[2,9]],"score":0.95}]}'
)
_HELLO_LINES = (
    b'{"width":256,"height":64,"lines":[{"text":"Hello world.","box":[[24,16],[224,16],[224,48],'
    b'[24,48]],"score":0.95}]}'
)
_TABLE = b'{"markdown":"Sum\\n\\n| a | b |\\n| --- | --- |\\n| 1 | 2 |"}'
_VISION = b'{"markdown":"# Hello","tokens":{"input":9,"output":4}}'
_USAGE = Units(pages=1, image_pixels=800)


def _page(text: str, index: int = 0, **more: Json) -> JsonObject:
    return {
        "index": index,
        "markdown": text,
        "images": [],
        "dimensions": {"dpi": 72, "height": 20, "width": 40},
        "tables": [],
        "hyperlinks": [],
        "header": None,
        "footer": None,
        "blocks": None,
        **more,
    }


def _reply(size: int, *pages: JsonObject) -> JsonObject:
    usage = {"pages_processed": len(pages), "doc_size_bytes": size}
    return {"pages": [*pages], "model": "m", "document_annotation": None, "usage_info": usage}


def _image(upstream: bytes, page: JsonObject, **more: Json) -> Sample:
    document = {"type": "image_url", "image_url": _IMAGE}
    asked = {"model": "m", "document": document, **more}
    reply = _reply(len(_PNG), page)
    return Sample(path=PATH, json=asked, upstream=[upstream], reply=reply, usage=_USAGE)


def _corners(left: int, top: int, right: int, bottom: int) -> JsonObject:
    return {
        "top_left_x": left,
        "top_left_y": top,
        "bottom_right_x": right,
        "bottom_right_y": bottom,
    }


_BLOCK = {"type": "text", **_corners(2, 2, 38, 9), "content": "Hello world"}
_SCORES = {"average_page_confidence_score": 0.925, "minimum_page_confidence_score": 0.9}
_CUT_OUT = {"id": "tbl-0.html", "format": "html"}
_HTML = "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
_RASTER = {"dimensions": {"dpi": 200, "height": 100, "width": 200}, "hyperlinks": [_LINK]}

_HELLO_PAGE = _page("Hello world.", dimensions={"dpi": 72, "height": 64, "width": 256})

SAMPLES = (
    Sample(
        path=PATH,
        json={
            "model": "m",
            "document": {"type": "image_url", "image_url": data_url("image/png", HELLO)},
            "pages": [0],
        },
        upstream=[_HELLO_LINES],
        reply=_reply(len(HELLO), _HELLO_PAGE),
        usage=Units(pages=1, image_pixels=256 * 64),
    ),
    _image(
        _LINES,
        _page("Hello world", blocks=[_BLOCK], confidence_scores=_SCORES),
        include_blocks=True,
        confidence_scores_granularity="page",
    ),
    _image(
        _TABLE,
        _page("Sum\n\n[tbl-0.html](tbl-0.html)", tables=[{**_CUT_OUT, "content": _HTML}]),
        table_format="html",
    ),
    Sample(
        path=PATH,
        json={"document": {"type": "image_url", "image_url": {"url": _IMAGE, "detail": "high"}}},
        facts={"prompt": "Read it.", "max_tokens": 100},
        upstream=[_VISION],
        reply=_reply(len(_PNG), _page("# Hello")),
        usage=Units(_USAGE, input_tokens=9, output_tokens=4),
    ),
    Sample(
        path=PATH,
        json={
            "model": "m",
            "document": {"type": "document_url", "document_url": data_url("application/pdf", _PDF)},
            "pages": "0-1",
            "partial": True,
        },
        upstream=[_LINES, b'{"markdown":"# Two"}'],
        reply=_reply(len(_PDF), _page("Hello world", 0, **_RASTER), _page("# Two", 1, **_RASTER)),
        usage=Units(pages=2, image_pixels=40_000),
    ),
)
