"""A page: what is known of it when it is sent, and reading what an engine answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modgate.kit.tokens import TOKENS_AT_MOST
from modgate.plugin import BadReply, Fields, Units
from modgate_ocr.boxes import Box, Line, box_of, line_of
from modgate_ocr.layout import Block, Figure, blocks, margins

PIXELS_PER_TOKEN = 750  # a guess, to reserve; the engine's count is billed.  Source: wire.md 3.2
BLOCK_KINDS = frozenset(
    {
        *("title", "text", "list", "table", "image", "header", "footer", "equation", "caption"),
        *("code", "references", "aside_text", "signature"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture on a page.

    `mark`: what an engine's markdown calls it, as in `![mark](mark)`.  `jpeg`: its bytes in base64;
    None when they are not known.
    """

    box: Box
    mark: str = ""
    jpeg: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page that was sent to an engine.

    `index`: its number in the document, from 0.  `width`, `height`: in pixels, as the client is
    told; the image that was sent has `scale` times as many on each side.
    """

    index: int
    dpi: int
    width: int
    height: int
    scale: float = 1.0
    links: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read on a page.

    `markdown`: as the engine wrote it; None: it is to be made of `blocks`.
    `cut`: the engine stopped at its limit of tokens.
    `tokens`: what a vision model spent; `guessed`: its engine did not say, so they are estimated.
    """

    markdown: str | None
    blocks: Sequence[Block] = ()
    pictures: Sequence[Picture] = ()
    cut: bool = False
    tokens: Units | None = None
    guessed: bool = False

    @property
    def scores(self) -> list[float]:
        """How sure the engine was of each line, from 0 to 1."""
        return [score for block in self.blocks for score in block.scores]

    def of_kind(self, kind: str) -> str | None:
        """The text of all blocks of a kind; None when there is none."""
        return "\n".join(block.text for block in self.blocks if block.kind == kind) or None


def read_page(
    page: Page, reply: Fields, *, header: bool, footer: bool, schema: str | None = None
) -> Read:
    """Read an engine's reply in the home wire.  BadReply when it does not fit.

    The reply is `{markdown, blocks?, pictures?, cut?, tokens?}` or `{lines}`, with boxes in pixels
    of the image that was sent.

    `header`, `footer`: whether these are told apart from the text, when there are lines.
    `schema`: which of the two, `markdown` or `lines`, the model's engines answer; None: either.
    """
    if schema is not None and schema not in reply:
        raise BadReply(f"the engine's reply has no {schema}, and its model's `page_schema` says so")
    if "markdown" in reply:
        return _of_markdown(page, reply)
    if "lines" in reply:
        lines = [_placed(line_of(row), page) for row in reply.each("lines", empty=True)]
        return _of_lines(page, lines, header=header, footer=footer)
    raise BadReply("the engine's reply has neither markdown nor lines")


def _placed(line: Line, page: Page) -> Line:
    back = 1 / page.scale
    return Line(text=line.text, box=line.box.times(back, back), score=line.score)


def _of_markdown(page: Page, reply: Fields) -> Read:
    text = reply.text("markdown", empty=True).replace("\0", "")
    pictures = [_picture(row, page) for row in _rows(reply, "pictures")] or list(page.pictures)
    found = [_block(row, page) for row in _rows(reply, "blocks")]
    spent = reply.inner("tokens", None)
    return Read(
        markdown=text,
        blocks=_numbered(found, pictures),
        pictures=pictures,
        cut=reply.flag("cut", False),
        tokens=_tokens(spent),
        guessed=spent is not None and spent.flag("guessed", False),
    )


def _rows(reply: Fields, name: str) -> Iterable[Fields]:
    return reply.each(name, empty=True) if name in reply else ()


def _tokens(spent: Fields | None) -> Units | None:
    if spent is None:
        return None
    return Units(
        input_tokens=spent.integer("input", at_least=0, at_most=TOKENS_AT_MOST),
        output_tokens=spent.integer("output", at_least=0, at_most=TOKENS_AT_MOST),
    )


def _picture(row: Fields, page: Page) -> Picture:
    back = 1 / page.scale
    return Picture(
        box=box_of(row.get("box")).times(back, back),
        mark=row.text("mark"),
        jpeg=row.text("jpeg", None),
    )


def _block(row: Fields, page: Page) -> Block:
    back, kind = 1 / page.scale, row.text("kind")
    return Block(
        kind=kind if kind in BLOCK_KINDS else "text",
        text=row.text("text", empty=True).replace("\0", ""),
        box=box_of(row.get("box")).times(back, back),
    )


def _numbered(found: Sequence[Block], pictures: Sequence[Picture]) -> list[Block]:
    """The blocks, in which those that lie where a picture does have its number."""
    places = {picture.box: number for number, picture in enumerate(pictures)}
    return [
        Block(kind="image", text=block.text, box=block.box, figure=places[block.box])
        if block.box in places
        else block
        for block in found
    ]


def _of_lines(page: Page, lines: list[Line], *, header: bool, footer: bool) -> Read:
    figures = [Figure(number=at, box=each.box) for at, each in enumerate(page.pictures)]
    above, body, below = margins(lines, page.height)
    if not header:
        above, body = [], [*above, *body]
    if not footer:
        below, body = [], [*body, *below]
    found = [*_edge("header", above), *blocks(body, figures), *_edge("footer", below)]
    return Read(markdown=None, blocks=found, pictures=page.pictures)


def _edge(kind: str, lines: Sequence[Line]) -> list[Block]:
    """A header or footer, as blocks of plain text."""
    return [
        Block(kind=kind, text=block.text, box=block.box, scores=block.scores)
        for block in blocks(lines)
    ]
