"""Images checked and set upright.

Runs in decoder processes, so it imports no part of the gateway.
"""

from __future__ import annotations

import base64
import io
from typing import Any, BinaryIO

Plain = Any  # JSON border: what msgpack carries, and modules without types

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
PASSED_ON = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
ORIENTATION = 0x0112
LOSSY_QUALITY = 90


class Refused(Exception):
    """The image's fault; the gateway makes the client's error of it."""

    def __init__(self, reason: str, code: str = "invalid_image_format") -> None:
        super().__init__(reason)
        self.field, self.code, self.reason = "messages", code, reason


def check(data: bytes | BinaryIO, pixels: int, spool: Plain) -> dict[str, Plain]:
    """`{width, height, kind, file}`: `file` None = the client's own bytes are good as they are.

    The header is read first, so that a picture of a billion pixels costs nothing; then every pixel
    is decoded, so that a damaged one is refused here and not by the engine.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        image = Image.open(file, formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise Refused("the image could not be read") from None
    if image.width * image.height > pixels:
        raise Refused(f"the image has more than {pixels} pixels", "image_too_large")
    try:
        image.load()
        turned = image.getexif().get(ORIENTATION, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
    except (OSError, SyntaxError, ValueError):
        raise Refused("the image is damaged") from None
    kind = PASSED_ON.get(image.format or "")
    width, height = upright.size
    if kind is not None and not turned and getattr(image, "n_frames", 1) == 1:
        return {"width": width, "height": height, "kind": kind, "file": None}
    lossy = image.format == "JPEG"
    encoded = _encoded(upright, lossy)
    kind = "image/jpeg" if lossy else "image/png"
    return {"width": width, "height": height, "kind": kind, "file": spool(encoded)}


def _encoded(image: Plain, lossy: bool) -> bytes:
    out = io.BytesIO()
    if lossy:
        image.convert("RGB").save(out, "JPEG", quality=LOSSY_QUALITY)
    else:
        plain = image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGBA")
        plain.save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue())


def encoded(file: BinaryIO, spool: Plain) -> Plain:
    """A fetched file in base64, in the spool."""
    return spool(base64.b64encode(file.read()))
