"""Writing pages in the words of Mistral's OCR reply.

Source: wire.md 7; mistralai 3.7.0, models/ocrpageobject.py and those it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modgate.plugin import JsonObject
from modgate_ocr.boxes import Box
from modgate_ocr.layout import Block
from modgate_ocr.page import Page, Picture, Read
from modgate_ocr.tables import Format, of_html, of_markdown, replaced, written

_PICTURE = "!["


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a client wants in the reply.

    `image_limit`: how many pictures of the whole document; None: all.  `image_min_size`: how many
    pixels each side of a picture has at least.  `table_format`: tables are apart, in this format;
    None: they stay in the text.  `scores`: how finely it wants to know how sure the engine was.
    """

    image_base64: bool = False
    image_limit: int | None = None
    image_min_size: int = 0
    table_format: Format | None = None
    header: bool = False
    footer: bool = False
    blocks: bool = False
    scores: str | None = None


@dataclass(slots=True)
class Writer:
    """Writes the pages of one document, in order; pictures and tables are numbered over all pages.

    `images`, `tables`: how many there were so far.
    """

    wishes: Wishes
    images: int = 0
    tables: int = 0
    # Of this page's pictures; None: left out.
    _named: list[str | None] = field(default_factory=list)

    def page(self, page: Page, read: Read | None) -> JsonObject:
        """Write one page.  `read`: None for one that failed, which is present and empty."""
        read = read if read is not None else Read(markdown="")
        self._named = [self._name(picture) for picture in read.pictures]
        text = self._text(read)
        tables: list[JsonObject] = []
        if self.wishes.table_format is not None:
            text = self._without_tables(text, self.wishes.table_format, tables)
        images = [
            self._image(name, picture)
            for name, picture in zip(self._named, read.pictures, strict=True)
            if name is not None
        ]
        written: JsonObject = {
            "index": page.index,
            "markdown": text,
            "images": images,
            "dimensions": {"dpi": page.dpi, "height": page.height, "width": page.width},
            "tables": tables,
            "hyperlinks": list(page.links),
            "header": read.of_kind("header") if self.wishes.header else None,
            "footer": read.of_kind("footer") if self.wishes.footer else None,
            "blocks": self._blocks(read, tables),
        }
        if self.wishes.scores is not None:
            written["confidence_scores"] = _scores(read)
        return written

    def _name(self, picture: Picture) -> str | None:
        least, limit = self.wishes.image_min_size, self.wishes.image_limit
        if min(picture.box.width, picture.box.height) < least:
            return None
        if limit is not None and self.images >= limit:
            return None
        self.images += 1
        return f"img-{self.images - 1}.jpeg"

    def _text(self, read: Read) -> str:
        """The page's markdown, in which pictures have the names of the reply."""
        if read.markdown is None:
            parts = [self._part(block) for block in read.blocks if not _edge(block)]
            return "\n\n".join(part for part in parts if part)
        names: dict[str, str | None] = {}
        for name, picture in zip(self._named, read.pictures, strict=True):
            names.setdefault(picture.mark, name)
        text, marks = renamed(read.markdown, names)
        unsaid = []
        for name, picture in zip(self._named, read.pictures, strict=True):
            if picture.mark in marks:
                marks.remove(picture.mark)  # the next one of this mark has no place in the text
            else:
                unsaid.append(_shown(name))
        return "\n\n".join(part for part in (text.strip(), *unsaid) if part)

    def _part(self, block: Block) -> str:
        return block.text if block.figure is None else _shown(self._named[block.figure])

    def _without_tables(self, text: str, form: Format, tables: list[JsonObject]) -> str:
        """The markdown with a link in the place of each table, which is added to `tables`."""

        def put(table: str, given: Format) -> str:
            cells = of_html(table) if given == "html" else of_markdown(table)
            if not cells or not cells[0]:
                return table
            name = f"tbl-{self.tables}.{'html' if form == 'html' else 'md'}"
            self.tables += 1
            content = table if given == form else written(cells, form)
            tables.append({"id": name, "content": content, "format": form})
            return f"[{name}]({name})"

        return replaced(text, put)

    def _image(self, name: str, picture: Picture) -> JsonObject:
        jpeg = picture.jpeg if self.wishes.image_base64 else None
        return {
            "id": name,
            **_corners(picture.box),
            "image_base64": f"data:image/jpeg;base64,{jpeg}" if jpeg is not None else None,
            "image_annotation": None,
        }

    def _blocks(self, read: Read, tables: Sequence[JsonObject]) -> list[JsonObject] | None:
        """The page's blocks; None when they are not wanted, or the engine writes text only."""
        if not self.wishes.blocks or (read.markdown is not None and not read.blocks):
            return None
        named = iter(tables)
        counted = sum(block.kind == "table" for block in read.blocks) == len(tables)
        made: list[JsonObject] = []
        for block in read.blocks:
            said: JsonObject = {"type": block.kind, **_corners(block.box), "content": block.text}
            if block.figure is not None:
                name = self._named[block.figure]
                if name is None:
                    continue
                said["image_id"] = name
            elif block.kind == "image":
                said["type"] = "text"
            elif block.kind == "table" and tables and counted:
                table = next(named)
                said["content"], said["table_id"] = table["content"], table["id"]
            made.append(said)
        return made


def _edge(block: Block) -> bool:
    return block.kind in ("header", "footer")


def renamed(text: str, names: Mapping[str, str | None]) -> tuple[str, set[str]]:
    """Markdown in which each `![mark](mark)` of these has its new name, and the marks found.

    None takes it out of the text.  The text is read once, and no new name is taken for a mark.
    """
    first, *rest = text.split(_PICTURE)
    done, found = [first], set[str]()
    for piece in rest:
        mark, middle, behind = piece.partition("](")
        if middle and mark in names and mark and behind.startswith(f"{mark})"):
            found.add(mark)
            done.append(_shown(names[mark]) + behind[len(mark) + 1 :])
        else:
            done.append(_PICTURE + piece)
    return "".join(done), found


def _shown(name: str | None) -> str:
    return f"![{name}]({name})" if name is not None else ""


def _corners(box: Box) -> JsonObject:
    return {
        "top_left_x": round(box.left),
        "top_left_y": round(box.top),
        "bottom_right_x": round(box.right),
        "bottom_right_y": round(box.bottom),
    }


def _scores(read: Read) -> JsonObject | None:
    """How sure the engine was of the page; None when it does not say."""
    scores = read.scores
    if not scores:
        return None
    return {
        "average_page_confidence_score": round(sum(scores) / len(scores), 4),
        "minimum_page_confidence_score": min(scores),
    }
