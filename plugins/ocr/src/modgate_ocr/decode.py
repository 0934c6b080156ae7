"""Documents in, page images out.

Runs in decoder processes, so it imports no part of the gateway.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

Plain = Any  # JSON border: what msgpack carries, and modules without types

OBJECTS_PIXELS_LEAST = 1
PNG_LEVEL = 1  # the engine is near, the processor is dear
POINTS_PER_INCH = 72
RENDER_PIXELS_AT_MOST = 10_000_000
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")


class Refused(Exception):
    """The document's fault; the gateway makes the client's error of it."""

    def __init__(
        self, reason: str, code: str = "invalid_document", field: str = "document"
    ) -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = field, code, reason


def inspect(
    data: bytes | BinaryIO, kind: str, pages: list[int] | None, limits: dict[str, int]
) -> dict[str, Plain]:
    """What is wanted of the document: `{pages: [index], pixels: their sum, size: bytes}`."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if kind == "pdf":
        sizes = _pdf_sizes(file, pages, limits)
    else:
        width, height = _image_size(file, limits["page_pixels"])
        sizes = [(index, width, height) for index in _chosen(1, pages)]
    pixels = sum(max(OBJECTS_PIXELS_LEAST, width * height) for _, width, height in sizes)
    return {"pages": [index for index, _, _ in sizes], "pixels": pixels, "size": size}


def _chosen(count: int, pages: list[int] | None) -> list[int]:
    if pages is None:
        return list(range(count))
    beyond = [page for page in pages if page >= count]
    if beyond:
        reason = f"page {beyond[0]} does not exist; the document has {count} pages"
        raise Refused(reason, "invalid_value", "pages")
    return sorted(set(pages))


def _pdf(file: BinaryIO) -> Plain:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError:
        raise Refused("the PDF could not be read; it may be damaged or encrypted") from None


def _pdf_sizes(
    file: BinaryIO, pages: list[int] | None, limits: dict[str, int]
) -> list[tuple[int, int, int]]:
    document = _pdf(file)
    try:
        if len(document) > limits["max_pages"] and pages is None:
            reason = f"the document has {len(document)} pages; at most {limits['max_pages']}"
            raise Refused(reason, "too_many_pages")
        chosen = _chosen(len(document), pages)
        if len(chosen) > limits["max_pages"]:
            raise Refused(f"at most {limits['max_pages']} pages", "too_many_pages")
        sizes = []
        for index in chosen:
            width, height = document.get_page_size(index)
            scale = _scale(width, height, limits["dpi"])
            sizes.append((index, -int(-width * scale // 1), -int(-height * scale // 1)))
        return sizes
    finally:
        document.close()


def _scale(width: float, height: float, dpi: int) -> float:
    """The rendering scale: the resolution, unless the page would grow over ten megapixels."""
    scale = dpi / POINTS_PER_INCH
    pixels = width * height * scale * scale
    return (
        scale
        if pixels <= RENDER_PIXELS_AT_MOST
        else scale * (RENDER_PIXELS_AT_MOST / pixels) ** 0.5
    )


def _opened(file: BinaryIO, pixels: int) -> Plain:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the header is checked below, before any pixel is decoded
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise Refused("the image could not be read", "invalid_image_format") from None
    if image.width * image.height > pixels:
        raise Refused(f"the image has more than {pixels} pixels", "image_too_large")
    return image


def _image_size(file: BinaryIO, pixels: int) -> tuple[int, int]:
    with _opened(file, pixels) as image:
        try:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        except (OSError, SyntaxError, ValueError):  # a PNG is decoded to its end for this
            raise Refused("the image is damaged", "invalid_image_format") from None
        return (image.height, image.width) if turned else (image.width, image.height)


def render(
    data: bytes | BinaryIO,
    kind: str,
    pages: list[int],
    dpi: int,
    page_pixels: int,
    long_side: int | None,
    spool: Callable[[bytes], Plain],
) -> Iterator[dict[str, Plain]]:
    """Each page as a PNG in the spool: `{file, index, dpi, width, height, scale}`.

    `width` and `height` are what the client is told; the image sent may be smaller by `scale`.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    if kind != "pdf":
        yield _image_page(file, page_pixels, long_side, spool)
        return
    document = _pdf(file)
    try:
        for index in pages:
            page = document[index]
            scale = _scale(page.get_width(), page.get_height(), dpi)
            image = page.render(scale=scale).to_pil()
            page.close()
            shown = round(scale * POINTS_PER_INCH)
            yield _page(image.convert("RGB"), index, shown, long_side, spool)
    finally:
        document.close()


def _image_page(
    file: BinaryIO, pixels: int, long_side: int | None, spool: Callable[[bytes], Plain]
) -> dict[str, Plain]:
    from PIL import ImageOps

    with _opened(file, pixels) as image:
        dpi = image.info.get("dpi", (POINTS_PER_INCH,))[0]
        try:
            upright = ImageOps.exif_transpose(image)
            flat = _flattened(upright)
        except (OSError, SyntaxError, ValueError):
            raise Refused("the image is damaged", "invalid_image_format") from None
    return _page(flat, 0, max(1, round(float(dpi))), long_side, spool)


def _flattened(image: Plain) -> Plain:
    """RGB, with what is transparent on white."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


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
