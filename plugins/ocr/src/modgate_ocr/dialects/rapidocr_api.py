"""rapidocr-api, which answers with numbered lines."""

from __future__ import annotations

import re
from collections.abc import Iterable

import orjson

from modgate.plugin import BadReply, Body, Event, Fields, JsonObject, Outgoing, Part, engine_message
from modgate_ocr.dialects.home import OcrHome, image_of

NUMBER = re.compile("[0-9]{1,9}")


class OcrRapidOcrApi(OcrHome):
    """rapidocr-api 0.2.

    Its fields `use_det`, `use_cls` and `use_rec` are left to the server.  It has one error: status
    500 with a plain text.  Source: wire.md 7; rapidocr_api 0.2.0, main.py.
    """

    family = "rapidocr-api"
    probe = "/"

    def encode(self) -> Outgoing:
        """A form with nothing but the image."""
        part = Part(
            name="image_file",
            content=image_of(self.call),
            filename="page.png",
            content_type="image/png",
        )
        return Outgoing(path="/ocr", body=Body.form([part]))

    def decode(self, event: Event) -> Iterable[Event]:
        """Its numbered lines as a list; it answers `{}` when there is no text."""
        fields = event.fields()
        rows = sorted((int(key), key) for key in fields.values if NUMBER.fullmatch(key))
        if not rows and engine_message(event.data):
            raise BadReply("the engine's reply does not fit: lines must be numbered")
        lines = [_line(fields.inner(key)) for _, key in rows]
        return (Event(orjson.dumps({"lines": lines})),)


def _line(row: Fields) -> JsonObject:
    line: JsonObject = {"text": row.text("rec_txt", empty=True), "box": row.items("dt_boxes")}
    score = row.number("score", None, at_least=0)
    return line if score is None else {**line, "score": score}
