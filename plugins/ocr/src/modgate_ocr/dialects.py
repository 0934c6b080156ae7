"""How engines spell text recognition."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from modgate.plugin import BadReply, Body, Dialect, Event, Outgoing, Part


class OcrHome(Dialect):
    """The home wire: `POST /ocr`, a form with one page image."""

    modality = "ocr"

    def decode(self, event: Event) -> Iterable[Event]:
        """Nothing in the reply names a model."""
        return (event,)


class RapidOcrApi(OcrHome):
    """rapidocr-api 0.2: `image_file` in, numbered lines out.  Source: wire.md 7."""

    family = "rapidocr-api"
    probe = "/"

    def encode(self) -> Outgoing:
        """Only the image goes out."""
        image = next(part for part in self.call.body.parts if part.name == "image")
        part = Part(
            name="image_file", content=image.content, filename="page.png", content_type="image/png"
        )
        return Outgoing(path="/ocr", body=Body.form([part]))

    def decode(self, event: Event) -> Iterable[Event]:
        """Numbered lines, `{}` when there is no text, as the home wire's list."""
        fields = event.fields()
        lines = []
        for key in sorted(fields.values, key=_number):
            row = fields.inner(key)
            text = row.text("rec_txt", empty=True)
            score = row.get("score")
            lines.append({"text": text, "box": row.items("dt_boxes"), "score": float(score or 0)})
        return (Event(orjson.dumps({"lines": lines})),)


def _number(key: str) -> int:
    if not key.isdigit():
        raise BadReply("the engine's reply does not fit: lines must be numbered")
    return int(key)
