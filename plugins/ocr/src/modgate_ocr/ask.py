"""Reading a request of Mistral's OCR endpoint.  Source: wire.md 7."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from modgate.kit.sniff import HEAD_BYTES, sniff
from modgate.plugin import Fields, Refused
from modgate_ocr.reply import Wishes
from modgate_ocr.tables import Format

UNSUPPORTED = ("bbox_annotation_format", "document_annotation_format", "document_annotation_prompt")
PAGES = re.compile(r"\s*\d{1,9}(\s*-\s*\d{1,9})?(\s*,\s*\d{1,9}(\s*-\s*\d{1,9})?)*\s*")
IMAGES = frozenset({"png", "jpeg", "webp", "gif", "bmp", "tiff"})
PAGES_AT_MOST = 100_000
FORMATS: dict[str, Format] = {"markdown": "markdown", "html": "html"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Where the document is: at a URL, or in the request.

    `field`: names it in errors.  `encoded`: its base64 text, when it is in the request.
    """

    field: str
    url: str
    encoded: str | None = None


def wishes_of(fields: Fields) -> Wishes:
    """What the client wants in the reply.  Refused for what no engine does."""
    for name in UNSUPPORTED:
        if name in fields:
            raise fields.fault(name, "unsupported_value", f"'{name}' is not supported")
    form = fields.choice("table_format", tuple(FORMATS), None)
    return Wishes(
        image_base64=fields.flag("include_image_base64", False),
        image_limit=fields.integer("image_limit", None, at_least=0),
        image_min_size=fields.integer("image_min_size", 0, at_least=0),
        table_format=FORMATS[form] if form is not None else None,
        header=fields.flag("extract_header", False),
        footer=fields.flag("extract_footer", False),
        blocks=fields.flag("include_blocks", False),
        scores=fields.choice("confidence_scores_granularity", ("page", "word", "block"), None),
    )


def pages_of(fields: Fields) -> list[int] | None:
    """The numbers of the pages that are wanted, from 0, sorted; None is all.

    A client sends a list, or text such as `0,2,5-7`.
    """
    given = fields.get("pages")
    if given is None:
        return None
    if isinstance(given, str):
        if PAGES.fullmatch(given) is None:
            raise fields.wrong("pages", 'a list of numbers, or "0,2,5-7"')
        return _ranges(given, fields)
    numbers = fields.items("pages", at_most=PAGES_AT_MOST)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise fields.wrong("pages", "a list of numbers from 0")
    return sorted(set(numbers))


def _ranges(written: str, fields: Fields) -> list[int]:
    chosen: set[int] = set()
    for piece in written.split(","):
        first, _, last = piece.partition("-")
        low, high = int(first), int(last or first)
        if high < low or high - low > PAGES_AT_MOST or len(chosen) > PAGES_AT_MOST:
            raise fields.fault("pages", "invalid_value", f"'{piece.strip()[:40]}' is no page range")
        chosen.update(range(low, high + 1))
    return sorted(chosen)


def document_of(fields: Fields, at_most: int) -> Document:
    """The document.  Refused for what is neither a URL nor a data URI, and over `at_most` bytes."""
    document = fields.inner("document")
    kind = document.choice("type", ("image_url", "document_url", "file"))
    if kind == "file":
        raise document.fault("type", "unsupported_value", "stored files are not supported")
    url = _url(document, kind)
    where = f"document.{kind}"
    if url[:8].lower().startswith(("https://", "http://")):
        return Document(field=where, url=url)
    if not url.startswith("data:"):
        raise Refused(
            where, "invalid_value", "a document is a URL, or a data URI: data:TYPE;base64,DATA"
        )
    front, comma, encoded = url.partition(",")
    if not comma or not front.endswith(";base64"):
        raise Refused(where, "invalid_value", "a data URI must be base64: data:TYPE;base64,DATA")
    if len(encoded) > -(-at_most // 3) * 4:
        raise Refused(where, "document_too_large", f"the document has more than {at_most} bytes")
    return Document(field=where, url="", encoded=encoded)


def _url(document: Fields, kind: str) -> str:
    given = document.get(kind)
    if kind == "image_url" and isinstance(given, dict):
        image = document.inner(kind)
        image.choice("detail", ("auto", "low", "high"), None)
        return image.text("url")
    return document.text(kind)


def kind_of(head: bytes, where: str) -> str:
    """`pdf` or `image`, by the first bytes.  Refused, naming the field `where`, for others."""
    kind = sniff(head)
    if kind == "pdf":
        return "pdf"
    if kind in IMAGES:
        return "image"
    known = ", ".join(sorted(IMAGES))
    reason = f"the document is neither a PDF nor a known image: {known}"
    raise Refused(where, "invalid_document", reason)


def head_of(document: Document) -> bytes:
    """The first bytes of a document that is in the request."""
    assert document.encoded is not None, "only a data URI has its bytes here"
    front = document.encoded[: HEAD_BYTES * 4 // 3 // 4 * 4]
    try:
        return binascii.a2b_base64(front, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Refused(document.field, "invalid_value", "the data URI is not valid base64") from None
