"""Joining recognised pages into Mistral's OCR reply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modgate.plugin import BadReply, Event, Head, JsonObject, Outcome, Relay, Units, Usage
from modgate_ocr.layout import line_of, markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page that was sent to an engine; `index` is its number in the document, from 0."""

    index: int
    dpi: int
    width: int
    height: int


class Recognised(Relay):
    """One document.  `pages` is filled while calls are drawn, in call order."""

    def __init__(self, *, model: str, document_bytes: int, count: int) -> None:
        self.pages: list[Page] = []
        self._model = model
        self._document_bytes = document_bytes
        self._count = count
        self._texts: dict[int, str] = {}

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """One page: markdown as the engine wrote it, or made of its lines."""
        reply = event.fields()
        if "markdown" in reply:
            self._texts[index] = reply.text("markdown", empty=True)
        elif "lines" in reply:
            lines = [line_of(row) for row in reply.each("lines", empty=True)]
            self._texts[index] = markdown(lines)
        else:
            raise BadReply("the engine's reply has neither markdown nor lines")
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """Pages in the document's order.

        One that failed is present, empty and named in a header.
        """
        failed = [page.index for at, page in enumerate(self.pages) if at not in self._texts]
        if failed:
            names = ",".join(str(index) for index in failed)
            self.head = Head(headers={"x-modgate-partial": f"pages={names}"})
        yield self.json(
            {
                "pages": [self._page(at, page) for at, page in enumerate(self.pages)],
                "model": self._model,
                "document_annotation": None,
                "usage_info": {
                    "pages_processed": len(self._texts),
                    "doc_size_bytes": self._document_bytes,
                },
            }
        )

    def _page(self, at: int, page: Page) -> JsonObject:
        return {
            "index": page.index,
            "markdown": self._texts.get(at, ""),
            "images": [],
            "dimensions": {"dpi": page.dpi, "height": page.height, "width": page.width},
            "tables": [],
            "hyperlinks": [],
            "header": None,
            "footer": None,
            "blocks": None,
        }

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """Pages that were recognised, and their pixels."""
        done = [self.pages[at] for at in self._texts]
        units = Units(pages=len(done), image_pixels=sum(page.width * page.height for page in done))
        return Usage(units, exact=len(done) == self._count, by="gateway")
