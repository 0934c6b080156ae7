"""The home wire of text recognition, and reading a call in it."""

from __future__ import annotations

from collections.abc import Iterable

from modgate.plugin import BadReply, Call, Content, Dialect, Event


class OcrHome(Dialect):
    """The home wire: `POST /ocr` with a form that holds one page image.

    The reply is `{lines: [{text, box, score}]}` or `{markdown, blocks?, pictures?, cut?, tokens?}`,
    with boxes in pixels of the image (`page.read_page`).
    """

    modality = "ocr"

    def decode(self, event: Event) -> Iterable[Event]:
        """The reply as it is.  BadReply for one that is no page: another engine may serve."""
        if not {"lines", "markdown"} & event.fields().values.keys():
            raise BadReply("the engine's reply has neither lines nor markdown")
        return (event,)


def image_of(call: Call) -> Content:
    """The page image of a call, a PNG."""
    return next(part.content for part in call.body.parts if part.name == "image")


def text_of(call: Call, name: str) -> str | None:
    """A text field of a call; None when it has no such field."""
    return next((part.text() for part in call.body.parts if part.name == name), None)


def read(content: Content) -> bytes:
    """The bytes of an image, which was made small enough, for a wire that wants them in JSON."""
    if isinstance(content, bytes):
        return content
    return content.prefix + content.file.read(content.start, content.length)
