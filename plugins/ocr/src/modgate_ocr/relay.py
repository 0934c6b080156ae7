"""Joining the pages of a document into one reply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from modgate.plugin import NOTHING, BadReply, Event, Head, Outcome, Relay, Units, Usage
from modgate_ocr.page import Page, Read, read_page
from modgate_ocr.reply import Wishes, Writer

NAMED_AT_MOST = 500  # pages that a header names
# Calls after which the document goes on.
ENDED = frozenset({"ok", "refused", "failed", "timed_out"})


class Recognised(Relay):
    """The reply to one request.

    `pages`: of each call, filled while calls are drawn.  `count`: how many there will be.
    `document_bytes`: of the document.  `partial`: the reply comes also when pages failed.
    `schema`: see `read_page`.
    """

    heavy: ClassVar[bool] = True

    def __init__(
        self,
        *,
        model: str,
        document_bytes: int,
        count: int,
        wishes: Wishes,
        partial: bool,
        schema: str | None = None,
    ) -> None:
        self.pages: list[Page] = []
        self._model = model
        self._document_bytes = document_bytes
        self._count = count
        self._wishes = wishes
        self._partial = partial
        self._schema = schema
        self._read: dict[int, Read] = {}
        self._unfit: set[int] = set()

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """Read one page: its markdown, as the engine wrote it, or its lines."""
        try:
            self._read[index] = read_page(
                self.pages[index],
                event.fields(),
                header=self._wishes.header,
                footer=self._wishes.footer,
                schema=self._schema,
            )
        except BadReply:
            self._unfit.add(index)
            raise
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """All pages, in the document's order.

        A page that failed is present and empty, and a header names it; another header names the
        pages that an engine cut short.
        """
        failed = [page.index for at, page in enumerate(self.pages) if at not in self._read]
        cut = [self.pages[at].index for at, read in sorted(self._read.items()) if read.cut]
        named = {"x-modgate-partial": failed, "x-modgate-truncated": cut}
        headers = {name: pages_named(indices) for name, indices in named.items() if indices}
        if headers:
            self.head = Head(headers=headers)
        writer = Writer(self._wishes)
        yield self.json(
            {
                "pages": [
                    writer.page(page, self._read.get(at)) for at, page in enumerate(self.pages)
                ],
                "model": self._model,
                "document_annotation": None,
                "usage_info": {
                    "pages_processed": len(self._read),
                    "doc_size_bytes": self._document_bytes,
                },
            }
        )

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The pages that were recognised, their pixels, and the tokens a model spent on them."""
        read = dict(self._read)  # in one step: `feed` may be at work in its thread
        pages = [self.pages[at] for at in read]
        units = Units(
            pages=len(pages), image_pixels=sum(page.width * page.height for page in pages)
        )
        told = [each for each in read.values() if each.tokens is not None]
        for each in told:
            units = units + (each.tokens or NOTHING)
        if any(each.guessed for each in told) or 0 < len(told) < len(read):
            return Usage(units, exact=False, by="estimate")
        return Usage(units, exact=self._whole(read, outcomes), by="engine" if told else "gateway")

    def _whole(self, read: Mapping[int, Read], outcomes: Sequence[Outcome]) -> bool:
        """Whether no more pages will come, so that nothing is added to the bill."""
        if len(read) == self._count:
            return True
        ended = all(outcome.state in ENDED for outcome in outcomes)
        gone = {at for at, outcome in enumerate(outcomes) if not outcome.ok} | self._unfit
        return self._partial and ended and len(gone | read.keys()) == self._count


def pages_named(indices: Sequence[int]) -> str:
    """Pages for a header, which has a bound."""
    named = map(str, indices[:NAMED_AT_MOST])
    return "pages=" + ",".join([*named, *["..."] * (len(indices) > NAMED_AT_MOST)])
