"""The ocr modality: Mistral's endpoint, units, and how a document becomes page calls."""

from __future__ import annotations

import binascii
import re
from collections.abc import Generator, Iterator

from modgate.kit.sniff import sniff
from modgate.plugin import (
    MIB,
    Body,
    Call,
    Drawn,
    Endpoint,
    Fetch,
    Fields,
    File,
    Json,
    Modality,
    Need,
    Part,
    Plan,
    Refused,
    Request,
    Target,
    Unit,
    Units,
    Work,
)
from modgate_ocr.config import Config, Facts
from modgate_ocr.decode import inspect, render
from modgate_ocr.relay import Page, Recognised
from modgate_ocr.samples import SAMPLES

UNSUPPORTED = ("bbox_annotation_format", "document_annotation_format", "document_annotation_prompt")
PAGES = re.compile(r"\s*\d+(\s*-\s*\d+)?(\s*,\s*\d+(\s*-\s*\d+)?)*\s*")
HEAD_BYTES = 64
IMAGES = frozenset({"png", "jpeg", "webp", "gif", "bmp", "tiff"})
LISTED_AT_MOST = 100_000


class Ocr(Modality[Config]):
    """Text recognition, metered in pages and pixels."""

    name = "ocr"
    units = (
        Unit("pages", "pages that were recognised"),
        Unit("image_pixels", "pixels of those pages, as the client is told them"),
    )
    weights = {"image_pixels": 1e-6}
    phases = {"total": Target(base_s=0.5, per_unit={"image_pixels": 0.6e-6})}
    deadlines = {
        "first_byte": Target(base_s=120.0, per_unit={"pages": 60.0}),
        "total": Target(base_s=120.0, per_unit={"pages": 60.0}),
    }
    gateway_counts = frozenset({"pages", "image_pixels"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES

    def endpoints(self) -> Iterator[Endpoint]:
        """Mistral's OCR endpoint."""
        yield Endpoint(
            path="/v1/ocr",
            surfaces=("mistral",),
            shape=self.shape,
            at_most=self.config.document_bytes * 4 // 3 + MIB,
            model_optional=True,
            summary="recognise the text of a document",
            operation="ocr",
        )

    def shape(self, request: Request) -> Generator[Need, Json, Plan]:
        """A page a call; pages are rendered in a decoder process while others are recognised."""
        fields = request.fields()
        self._check(fields)
        wanted = self._pages(fields)
        document, kind = yield from self._document(fields)
        limits = {
            "max_pages": self.config.max_pages,
            "page_pixels": self.config.page_pixels,
            "dpi": self.config.dpi,
        }
        found = yield Work(inspect, document, kind, wanted, limits, field="document")
        pages: list[int] = found["pages"]
        facts = request.model.facts
        long_side = facts.long_side if isinstance(facts, Facts) else None
        relay = Recognised(model=request.asked, document_bytes=found["size"], count=len(pages))

        def to_call(index: int, piece: Json) -> Call:
            page = Page(
                index=piece["index"],
                dpi=piece["dpi"],
                width=piece["width"],
                height=piece["height"],
            )
            relay.pages.append(page)
            return _call(piece["file"], page)

        args = (document, kind, pages, self.config.dpi, self.config.page_pixels, long_side)
        return Plan(
            calls=Drawn(render, args, to_call),
            relay=relay,
            reserve=Units(pages=len(pages), image_pixels=found["pixels"]),
            width=min(self.config.width, max(1, len(pages))),
            partial=fields.flag("partial", False),
        )

    def _check(self, fields: Fields) -> None:
        for name in UNSUPPORTED:
            if name in fields:
                raise fields.fault(name, "unsupported_value", f"'{name}' is not supported")
        for name in ("include_image_base64", "extract_header", "extract_footer", "include_blocks"):
            fields.flag(name, None)
        fields.integer("image_limit", None, at_least=0)
        fields.integer("image_min_size", None, at_least=0)
        fields.choice("table_format", ("markdown", "html"), None)

    def _pages(self, fields: Fields) -> list[int] | None:
        """Page numbers from 0: a list, or `"0,2,5-7"`."""
        given = fields.get("pages")
        if given is None:
            return None
        if isinstance(given, str):
            if PAGES.fullmatch(given) is None:
                raise fields.wrong("pages", 'a list of numbers, or "0,2,5-7"')
            return _ranges(given, fields)
        numbers = fields.items("pages", at_most=LISTED_AT_MOST)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise fields.wrong("pages", "a list of numbers from 0")
        return sorted(set(numbers))

    def _document(self, fields: Fields) -> Generator[Need, Json, tuple[bytes | File, str]]:
        document = fields.inner("document")
        kind = document.choice("type", ("image_url", "document_url", "file"))
        if kind == "file":
            raise document.fault("type", "unsupported_value", "stored files are not supported")
        url = self._url(document, kind)
        where = f"document.{kind}"
        if url.startswith("data:"):
            data = _data_url(url, where, self.config.document_bytes)
            return data, _kind(data[:HEAD_BYTES], where)
        allowed = frozenset({"image", "pdf"})
        file: File = yield Fetch(
            url=url, at_most=self.config.document_bytes, kinds=allowed, field=where
        )
        return file, _kind(file.read(0, HEAD_BYTES), where)

    def _url(self, document: Fields, kind: str) -> str:
        if isinstance(document.get(kind), dict):
            return document.inner(kind).text("url")
        return document.text(kind)


def _ranges(written: str, fields: Fields) -> list[int]:
    chosen: set[int] = set()
    for piece in written.split(","):
        first, _, last = piece.partition("-")
        low, high = int(first), int(last or first)
        if high < low or high - low > LISTED_AT_MOST:
            raise fields.fault("pages", "invalid_value", f"'{piece.strip()[:40]}' is no page range")
        chosen.update(range(low, high + 1))
    return sorted(chosen)


def _data_url(url: str, where: str, at_most: int) -> bytes:
    front, comma, encoded = url.partition(",")
    if not comma or not front.endswith(";base64"):
        raise Refused(where, "invalid_value", "a data URI must be base64: data:TYPE;base64,DATA")
    if len(encoded) > at_most * 4 // 3 + 4:
        raise Refused(where, "document_too_large", f"the document has more than {at_most} bytes")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Refused(where, "invalid_value", "the data URI is not valid base64") from None


def _kind(head: bytes, where: str) -> str:
    kind = sniff(head)
    if kind == "pdf":
        return "pdf"
    if kind in IMAGES:
        return "image"
    raise Refused(where, "invalid_document", "the document is neither a PDF nor a known image")


def _call(file: File, page: Page) -> Call:
    image = Part(name="image", content=file.slice(), filename="page.png", content_type="image/png")
    size = Units(pages=1, image_pixels=page.width * page.height)
    model = Part(name="model", content=b"")
    return Call(path="/ocr", body=Body.form([model, image]), size=size)
