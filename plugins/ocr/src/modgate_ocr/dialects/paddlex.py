"""PaddleX: its pipeline for lines of text, and those that parse a layout.

Source: wire.md 7; PaddleX 3, deployment by serving.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping

import orjson

from modgate.plugin import (
    BadReply,
    Body,
    Event,
    Fields,
    GatewayError,
    Json,
    JsonObject,
    Outgoing,
    UpstreamFailed,
    refusal_of,
)
from modgate_ocr.dialects.home import OcrHome, image_of, read

IMAGE_FILE = 1
LINES_PIPELINE = "ocr"
KINDS: Mapping[str, str] = {
    "doc_title": "title",
    "paragraph_title": "title",
    "table": "table",
    "image": "image",
    "chart": "image",
    "seal": "image",
    "header": "header",
    "header_image": "image",
    "footer": "footer",
    "footer_image": "image",
    "number": "footer",
    "formula": "equation",
    "display_formula": "equation",
    "algorithm": "code",
    "figure_title": "caption",
    "table_title": "caption",
    "chart_title": "caption",
    "figure_table_chart_title": "caption",
    "reference": "references",
    "reference_content": "references",
    "aside_text": "aside_text",
}
# Nothing in it runs over the next mark of its own kind, so a text is read once, however broken.
_PICTURE = re.compile(
    r'(?:<div[^<>]*>\s*+)?<img\b(?>[^<>]*?\bsrc="([^"<>]+)")[^<>]*>(?:\s*</div>)?'
    r"|!\[[^\[\]]*\]\(([^()\s]+)\)"
)
_PLACE = re.compile(r"_(\d{1,6})_(\d{1,6})_(\d{1,6})_(\d{1,6})\.\w+$")


class OcrPaddleX(OcrHome):
    """PaddleX serving a pipeline, whose name is the engine's name of the model.

    The pipeline `OCR` is called at `/ocr`, all others (`PP-StructureV3`, `PaddleOCR-VL`) at
    `/layout-parsing`.  An error may come with status 200, and with an `errorCode`.
    """

    family = "paddlex"

    @property
    def _lines(self) -> bool:
        return self.served.name.lower() == LINES_PIPELINE

    def encode(self) -> Outgoing:
        """The image as base64 in JSON; drawings of what was found are not wanted."""
        image = base64.b64encode(read(image_of(self.call))).decode()
        body = Body.of(file=image, fileType=IMAGE_FILE, visualize=False)
        return Outgoing(path="/ocr" if self._lines else "/layout-parsing", body=body)

    def decode(self, event: Event) -> Iterable[Event]:
        """The only page of the result.  BadReply when there is another number of them."""
        fields = event.fields()
        code = fields.get("errorCode")
        if code not in (0, None):
            raise _error(code, fields.get("errorMsg"))
        result = fields.inner("result")
        name = "ocrResults" if self._lines else "layoutParsingResults"
        pages = list(result.each(name))
        if len(pages) != 1:
            raise BadReply("the engine's reply does not fit: one page was sent")
        made = _of_lines(pages[0]) if self._lines else _of_layout(pages[0])
        return (Event(orjson.dumps(made)),)


def _error(code: Json, message: Json) -> GatewayError:
    status = code if type(code) is int else 500
    said = message if isinstance(message, str) else ""
    if 400 <= status < 600:
        return refusal_of(status, {}, said)
    return UpstreamFailed("the engine reported an error")


def _of_lines(page: Fields) -> JsonObject:
    found = page.inner("prunedResult")
    texts = found.items("rec_texts", empty=True)
    scores = found.items("rec_scores", [], empty=True)
    boxes = found.items("rec_polys" if found.get("rec_polys") else "rec_boxes", empty=True)
    if len(texts) != len(boxes) or len(scores) not in (0, len(texts)):
        raise BadReply("the engine's reply does not fit: texts, scores and boxes differ in number")
    lines: list[JsonObject] = [
        {"text": text, "box": box} for text, box in zip(texts, boxes, strict=True)
    ]
    for line, score in zip(lines, scores, strict=False):
        line["score"] = score
    return {"lines": lines}


def _of_layout(page: Fields) -> JsonObject:
    """The engine's own markdown, with its blocks and the pictures that it cut out."""
    markdown = page.inner("markdown")
    images = markdown.inner("images", None)
    given = images.values if images is not None else {}
    marks: dict[str, None] = {}

    def marked(found: re.Match[str]) -> str:
        path = found.group(1) or found.group(2)
        if path not in given:
            return found.group()
        marks[path] = None
        return f"![{path}]({path})"

    text = _PICTURE.sub(marked, markdown.text("text", empty=True))
    rows = list(page.inner("prunedResult").each("parsing_res_list", empty=True))
    return {
        "markdown": text,
        "blocks": [_block(row) for row in rows],
        "pictures": [
            _picture(path, place, given[path]) for path in marks if (place := _PLACE.search(path))
        ],
    }


def _block(row: Fields) -> JsonObject:
    kind = KINDS.get(row.text("block_label"), "text")
    content = row.text("block_content", "", empty=True)
    return {"kind": kind, "text": content, "box": row.items("block_bbox")}


def _picture(path: str, place: re.Match[str], image: Json) -> JsonObject:
    """A picture.  Its name says where it is; an address in place of its bytes is not followed."""
    box = [int(number) for number in place.groups()]
    return {"mark": path, "box": box, "jpeg": _jpeg(image)}


def _jpeg(image: Json) -> str | None:
    """A picture in base64; None for an address or anything else."""
    if not isinstance(image, str) or image.startswith(("http:", "https:")):
        return None
    return image.partition(",")[2] if image.startswith("data:") else image
