"""Reading the pages of a picture: the pictures in a TIFF, or the frames of an animation.

The smaller copies and masks that lie beside a TIFF's picture are no pages, nor is what a camera
puts behind a JPEG.  This runs in decoder processes, so it imports no part of the gateway.

Source: TIFF 6.0 section 8 (NewSubfileType, SubfileType).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count, islice, repeat
from typing import Any, BinaryIO

Plain = Any  # JSON border: what msgpack carries, and modules without types

POINTS_PER_INCH = 72
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
ANIMATIONS = ("PNG", "WEBP", "GIF")  # their frames are of one size
LOOKED_AT_MOST = 10_000  # pictures of a file, with the copies and masks that are no pages
SUBFILE, OLD_SUBFILE = 254, 255  # TIFF tags that say what a picture is
REDUCED, MASK, OLD_REDUCED = 1, 4, 2  # and what they say of copies and masks
TURNED = (5, 6, 7, 8)  # EXIF orientations in which width and height change places
ORIENTATION = 0x0112
DAMAGE = (
    *(OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError),
    struct.error,
)


class Refused(Exception):
    """The document is at fault.  The gateway makes an error for the client of this."""

    def __init__(
        self, reason: str, code: str = "invalid_document", field: str | None = None
    ) -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = field, code, reason


def check_exist(pages: list[int], count: int) -> None:
    """Raise Refused when one of the pages is beyond the document's `count` pages."""
    missing = [page for page in pages if page >= count]
    if missing:
        reason = f"page {missing[0]} does not exist; the document has {count} pages"
        raise Refused(reason, "invalid_value", "pages")


def check_count(asked: int, pages: list[int] | None, at_most: int) -> None:
    """Raise Refused when more than `at_most` pages are asked for; `pages` None: all of them."""
    if asked <= at_most:
        return
    if pages is None:
        reason = f"the document has more than {at_most} pages; ask for some of them with 'pages'"
        raise Refused(reason, "too_many_pages")
    reason = f"{asked} pages are asked for; at most {at_most} are read"
    raise Refused(reason, "too_many_pages", "pages")


def sizes(
    file: BinaryIO, pages: list[int] | None, limits: dict[str, int]
) -> list[tuple[int, int, int]]:
    """`(index, width, height)` of each page that is wanted, by headers alone; None is all.

    Nothing after the last page that is wanted is looked at.  Refused for a page that does not
    exist, for too many, and for a picture that is damaged or has too many pixels.
    """
    at_most = limits["max_pages"]
    wanted = None if pages is None else set(pages)
    check_count(len(wanted or ()), pages, at_most)
    last = at_most if wanted is None else max(wanted, default=-1)
    found: list[tuple[int, int, int]] = []
    seen = 0
    with _opened(file, limits["page_pixels"]) as image:
        for index, size in islice(enumerate(_sizes(image, limits["page_pixels"])), last + 1):
            seen = index + 1
            if wanted is None or index in wanted:
                found.append((index, *size))
    check_exist(pages or [], seen)
    check_count(len(found), pages, at_most)
    return found


def images(file: BinaryIO, pages: list[int], pixels: int) -> Iterator[tuple[int, int, Plain]]:
    """`(index, dpi, image)` of each page, upright and in RGB.  Refused when one is damaged."""
    from PIL import ImageOps

    wanted = set(pages)
    with _opened(file, pixels) as image:
        for index, page in islice(enumerate(_walk(image, pixels)), max(pages, default=-1) + 1):
            if index not in wanted:
                continue
            wanted.discard(index)
            try:
                flat = _flattened(ImageOps.exif_transpose(page))
            except DAMAGE:
                raise _damaged() from None
            yield index, _dpi(page.info.get("dpi")), flat
    if wanted:
        raise _damaged()


def _damaged() -> Refused:
    return Refused("the image is damaged", "invalid_image_format")


def _opened(file: BinaryIO, pixels: int) -> Plain:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the header is checked below, before any pixel is decoded
    try:
        image = Image.open(file, formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise Refused("the image could not be read", "invalid_image_format") from None
    _fits(image, pixels)
    return image


def _fits(image: Plain, pixels: int) -> None:
    if image.width * image.height > pixels:
        raise Refused(f"the image has more than {pixels} pixels", "image_too_large")


def _sizes(image: Plain, pixels: int) -> Iterator[tuple[int, int]]:
    """The size of each page, without decoding the frames of an animation."""
    try:
        if image.format in ANIMATIONS:
            yield from repeat(_upright(image), image.n_frames)
            return
        for page in _walk(image, pixels):
            yield _upright(page)
    except DAMAGE:  # a PNG is decoded to its end for its orientation
        raise _damaged() from None


def _upright(image: Plain) -> tuple[int, int]:
    turned = image.getexif().get(ORIENTATION, 1) in TURNED
    return (image.height, image.width) if turned else (image.width, image.height)


def _walk(image: Plain, pixels: int) -> Iterator[Plain]:
    """The image at each of its pages; what lies outside an animation's first one is not shown."""
    shown = image.size
    yield image
    several = image.format == "TIFF" or image.format in ANIMATIONS
    for frame in count(1) if several else ():
        if frame > LOOKED_AT_MOST:
            raise Refused(f"the file holds more than {LOOKED_AT_MOST} pictures", "too_many_pages")
        if image.format == "TIFF":
            image.info.pop("dpi", None)  # the page's in front; each has its own or none
        try:
            image.seek(frame)
        except EOFError:
            return
        except DAMAGE:
            raise _damaged() from None
        _fits(image, pixels)
        if image.format != "TIFF":
            yield image if image.size == shown else image.crop((0, 0, *shown))
        elif not _beside(image.tag_v2):
            yield image


def _beside(tags: Plain) -> bool:
    """Whether a TIFF's picture is a smaller copy or a mask of another one."""
    return bool(tags.get(SUBFILE, 0) & (REDUCED | MASK)) or tags.get(OLD_SUBFILE) == OLD_REDUCED


def _dpi(given: Plain) -> int:
    """An image's resolution by its file, else 72; a TIFF without one says 1."""
    try:
        said = float(given[0])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return POINTS_PER_INCH
    return round(said) if 1 < said < 1e6 else POINTS_PER_INCH


def _flattened(image: Plain) -> Plain:
    """An image in RGB, with white behind what is transparent; of 16 bits the upper eight."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    if image.mode == "F":
        reason = "the image's pixels are real numbers of an unknown range; send 8 or 16 bits"
        raise Refused(reason, "invalid_image_format")
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGB")
