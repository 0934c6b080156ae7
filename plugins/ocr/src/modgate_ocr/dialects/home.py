"""The home wire itself."""

from __future__ import annotations

from collections.abc import Iterable

from modgate.plugin import BadReply, Call, Content, Dialect, Event


class OcrHome(Dialect):
    """The home wire: `POST /ocr`, a form with one page image.

    The reply is `{"lines": [{text, box, score}]}` or `{"markdown", blocks?, pictures?, cut?,
    tokens?}`, its boxes in pixels of the image.
    """

    modality = "ocr"

    def decode(self, event: Event) -> Iterable[Event]:
        """Nothing in the reply names a model.  BadReply for what is no page, to try elsewhere."""
        if not {"lines", "markdown"} & event.fields().values.keys():
            raise BadReply("the engine's reply has neither lines nor markdown")
        return (event,)


def image_of(call: Call) -> Content:
    """The page image, a PNG."""
    return next(part.content for part in call.body.parts if part.name == "image")


def text_of(call: Call, name: str) -> str | None:
    """A text part of the call; None when it has none."""
    return next((part.text() for part in call.body.parts if part.name == name), None)


def read(content: Content) -> bytes:
    """The image's bytes, for a wire that wants them inside JSON; it was made small enough."""
    if isinstance(content, bytes):
        return content
    return content.prefix + content.file.read(content.start, content.length)
