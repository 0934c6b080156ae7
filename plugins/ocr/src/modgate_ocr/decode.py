"""Turning documents into page images.

Sizes are read from headers before a pixel is decoded, and a PDF page is rendered to ten megapixels
at most, so that a small file cannot grow without bound.  This runs in decoder processes, so it
imports no part of the gateway.

Source: algorithms.md 9 (bombs).
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import io
import math
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from modgate_ocr.frames import POINTS_PER_INCH, Refused, check_count, check_exist, images, sizes

Plain = Any  # JSON border: what msgpack carries, and modules without types

PNG_LEVEL = 1  # compressing more costs more time than sending more to an engine nearby
JPEG_QUALITY = 85
RENDER_PIXELS_AT_MOST = 10_000_000
OBJECTS_AT_MOST = 50_000  # of a PDF page
FIGURES_AT_MOST = 100  # of a page
FIGURE_SIDE = 32  # pixels: what is smaller is a bullet or a rule
SCAN_SHARE = 0.8  # of the page: pictures that cover so much are the page itself
LINKS_AT_MOST, LINK_BYTES = 1000, 2048


def inspect(
    source: str | BinaryIO,
    kind: str,
    pages: list[int] | None,
    limits: dict[str, int],
    spool: Callable[[bytes], Plain],
) -> dict[str, Plain]:
    """What the document is: `{pages, pixels, size, file?}`.

    `pages`: the numbers of those that are wanted.  `pixels`: of all these.  `size`: the document's
    bytes.  `file`: the document in the spool, when it came as base64 text in `source`.
    """
    file: BinaryIO = io.BytesIO(_decoded(source)) if isinstance(source, str) else source
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    wanted = (_pdf_sizes if kind == "pdf" else sizes)(file, pages, limits)
    pixels = sum(max(1, width * height) for _, width, height in wanted)
    found = {"pages": [index for index, _, _ in wanted], "pixels": pixels, "size": size}
    if isinstance(file, io.BytesIO):
        found["file"] = spool(file.getvalue())
    return found


def _decoded(source: str) -> bytes:
    try:
        return binascii.a2b_base64(source, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Refused("the data URI is not valid base64", "invalid_value") from None


def _pdf(file: BinaryIO) -> Plain:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
        document.init_forms()  # what was typed into a form is drawn, too
    except pypdfium2.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise Refused("the PDF is encrypted; send it without its password") from None
        if code == pypdfium2.raw.FPDF_ERR_SUCCESS:  # it is well formed, and still not opened
            raise Refused("the PDF has no pages") from None
        raise Refused("the PDF could not be read; it may be damaged") from None
    return document


def _pdf_sizes(
    file: BinaryIO, pages: list[int] | None, limits: dict[str, int]
) -> list[tuple[int, int, int]]:
    from pypdfium2 import PdfiumError

    document = _pdf(file)
    try:
        count = len(document)
        if count == 0:
            raise Refused("the PDF has no pages")
        check_exist(pages or [], count)
        chosen = range(count) if pages is None else sorted(set(pages))
        check_count(len(chosen), pages, limits["max_pages"])
        return [(index, *_raster(document, index, limits["dpi"])) for index in chosen]
    except PdfiumError:
        raise Refused("the PDF is damaged") from None
    finally:
        document.close()


def _raster(document: Plain, index: int, dpi: int) -> tuple[int, int]:
    """Width and height of a page in pixels, as pdfium renders it."""
    width, height = document.get_page_size(index)
    scale = _scale(width, height, dpi)
    return math.ceil(width * scale), math.ceil(height * scale)


def _scale(width: float, height: float, dpi: int) -> float:
    """How many pixels a point becomes: by the resolution, or fewer, up to ten megapixels."""
    scale = dpi / POINTS_PER_INCH
    pixels = width * height * scale * scale
    return scale * min(1.0, math.sqrt(RENDER_PIXELS_AT_MOST / max(1.0, pixels)))


def render(
    file: BinaryIO,
    kind: str,
    pages: list[int],
    limits: dict[str, Plain],
    spool: Callable[[bytes], Plain],
) -> Iterator[dict[str, Plain]]:
    """Each page as a PNG in the spool.

    `{file, index, dpi, width, height, scale, links, figures: [box], crops?, lengths?}`: `width` and
    `height` are what the client is told, the image that is sent may be smaller by `scale`.  `crops`
    is a file of JPEGs, one after the other, of the figures.
    """
    if kind != "pdf":
        for index, dpi, image in images(file, pages, limits["page_pixels"]):
            page = _page(image, index, dpi, limits["long_side"], spool)
            yield page | {"links": [], "figures": []}
        return
    from pypdfium2 import PdfiumError

    document = _pdf(file)
    left = {"bytes": limits["images_bytes"]}
    try:
        for index in pages:
            try:
                yield _pdf_page(document, index, limits, left, spool)
            except PdfiumError:
                raise Refused(f"page {index} of the PDF is damaged") from None
    finally:
        document.close()


def _pdf_page(
    document: Plain,
    index: int,
    limits: dict[str, Plain],
    left: dict[str, int],
    spool: Callable[[bytes], Plain],
) -> dict[str, Plain]:
    from pypdfium2 import raw

    page = document[index]
    try:
        if raw.FPDFPage_CountObjects(page) > OBJECTS_AT_MOST:
            raise Refused(f"page {index} has more than {OBJECTS_AT_MOST} objects")
        scale = _scale(page.get_width(), page.get_height(), limits["dpi"])
        image = page.render(scale=scale, draw_annots=True).to_pil().convert("RGB")
        figures = _figures(page, image.size)
        more = {"links": _links(document, page), "figures": figures}
    finally:
        page.close()
    if limits["crops"] and figures:
        crops = [_crop(image, box) for box in figures]
        left["bytes"] -= sum(len(crop) for crop in crops)
        if left["bytes"] < 0:
            reason = f"the pictures have more than {limits['images_bytes']} bytes; ask for fewer"
            raise Refused(reason, "document_too_large", "include_image_base64")
        more |= {"crops": spool(b"".join(crops)), "lengths": [len(crop) for crop in crops]}
    dpi = max(1, round(scale * POINTS_PER_INCH))
    return _page(image, index, dpi, limits["long_side"], spool) | more


def _figures(page: Plain, size: tuple[int, int]) -> list[list[int]]:
    """The boxes of pictures on a page; none when a picture is the page itself."""
    from pypdfium2 import raw

    width, height = size
    found = []
    for each in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=1):
        edges = [ctypes.c_float() for _ in range(4)]
        if not raw.FPDFPageObj_GetBounds(each, *edges):
            continue
        left, low, right, high = (edge.value for edge in edges)
        corners = [_on_raster(page, x, y, size) for x, y in ((left, low), (right, high))]
        xs = sorted(min(width, max(0, x)) for x, _ in corners)
        ys = sorted(min(height, max(0, y)) for _, y in corners)
        if xs[1] - xs[0] >= FIGURE_SIDE and ys[1] - ys[0] >= FIGURE_SIDE:
            found.append([xs[0], ys[0], xs[1], ys[1]])
    covered = sum((right - left) * (low - high) for left, high, right, low in found)
    if covered > SCAN_SHARE * width * height or len(found) > FIGURES_AT_MOST:
        return []
    return sorted(found, key=lambda box: (box[1], box[0]))


def _on_raster(page: Plain, x: float, y: float, size: tuple[int, int]) -> tuple[int, int]:
    """A point of a page in pixels of its image; pages may be turned and cropped."""
    from pypdfium2 import raw

    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, across, down)
    return across.value, down.value


def _crop(image: Plain, box: list[int]) -> bytes:
    out = io.BytesIO()
    image.crop(box).save(out, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(out.getvalue())


def _links(document: Plain, page: Plain) -> list[str]:
    """The addresses that a page links to, each once."""
    from pypdfium2 import raw

    found: dict[str, None] = {}
    position, link = ctypes.c_int(0), raw.FPDF_LINK()
    while raw.FPDFLink_Enumerate(page, position, link) and len(found) < LINKS_AT_MOST:
        action = raw.FPDFLink_GetAction(link)
        if not action:
            continue
        length = raw.FPDFAction_GetURIPath(document, action, None, 0)
        if not 1 < length <= LINK_BYTES:
            continue
        written = ctypes.create_string_buffer(length)
        raw.FPDFAction_GetURIPath(document, action, written, length)
        found[written.value.decode("utf-8", "replace")] = None
    return list(found)


def _page(
    image: Plain, index: int, dpi: int, long_side: int | None, spool: Callable[[bytes], Plain]
) -> dict[str, Plain]:
    width, height = image.size
    scale = 1.0
    if long_side is not None and max(width, height) > long_side:
        scale = long_side / max(width, height)
        image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=PNG_LEVEL)
    return {
        "file": spool(out.getvalue()),
        "index": index,
        "dpi": dpi,
        "width": width,
        "height": height,
        "scale": scale,
    }
