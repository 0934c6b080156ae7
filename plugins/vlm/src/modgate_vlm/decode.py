"""Images checked, set upright, and made what an engine takes.

Runs in decoder processes, so it imports no part of the gateway.
"""

from __future__ import annotations

import base64
import binascii
import io
from importlib import import_module
from typing import Any, BinaryIO

from modgate_vlm.cost import Family, Size, TooNarrow, computed_size, image_tokens

Plain = Any  # JSON border: what msgpack carries, and modules without types

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
HEIC = ("heic", "pillow_heif", "HEIF")  # as it is sniffed, the module that reads it, its format
PASSED_ON = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
PLAIN_MODES = ("RGB", "L")
OPAQUE = 255
ORIENTATION = 0x0112
LOSSY_QUALITY = 90
WEBP_HEAD_BYTES = 4096
WIDE_MODE, TO_BYTE = "I", 1 / 256  # 16 bits of grey
REAL_MODE = "F"
WHITE = (255, 255, 255)


class Refused(Exception):
    """The image's fault; the gateway makes the client's error of it, and names the picture."""

    def __init__(self, reason: str, code: str = "invalid_image_format") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def check(
    data: bytes | BinaryIO,
    kind: str,
    at_most: list[int],
    family: list[Plain],
    detail: str | None,
    spool: Plain,
) -> dict[str, Plain]:
    """`{pixels, tokens, kind, file}`: `file` None = the client's own bytes are good as they are.

    `data`: base64, or a file of the bytes themselves.  `kind`: what it was sniffed to be.
    `at_most`: bytes and pixels.  `detail` None: it is never scaled down.  The header is read first,
    so that a picture of a billion pixels costs nothing; then every pixel is decoded, so that a
    damaged one is refused here and not by the engine.
    """
    most_bytes, most_pixels = at_most
    file = io.BytesIO(_bytes(data, most_bytes)) if isinstance(data, bytes) else data
    image = _opened(file, kind, most_pixels)
    try:
        image.load()
        upright = _upright(image)
    except (OSError, SyntaxError, ValueError):
        raise Refused("the image is damaged") from None
    given: Size = upright.size
    model = Family(*family)
    try:
        size = given if detail is None else computed_size(*given, model, detail)
        low = detail == "low" and model.name == "openai_tiles"
        tokens = image_tokens(*size, model, "low" if low else "auto")
    except TooNarrow as error:
        raise Refused(str(error), "invalid_value") from None
    found = {"pixels": given[0] * given[1], "tokens": tokens, "kind": PASSED_ON.get(image.format)}
    if upright is image and size == given and _passes(image):
        packed = None if isinstance(data, bytes) else spool(base64.b64encode(_all(file)))
        return {**found, "file": packed}
    lossy = _lossy(image, file) and not _see_through(upright)
    found["kind"] = "image/jpeg" if lossy else "image/png"
    return {**found, "file": spool(_encoded(_flat(upright), size, lossy))}


def _all(file: BinaryIO) -> bytes:
    """All of a file."""
    file.seek(0)
    return file.read()


def _bytes(packed: bytes, at_most: int) -> bytes:
    try:
        data = binascii.a2b_base64(packed, strict_mode=True)
    except ValueError:
        raise Refused("the image is not valid base64") from None
    if len(data) > at_most:
        raise Refused(f"the image has more than {at_most} bytes", "image_too_large")
    return data


def _opened(file: BinaryIO, kind: str, pixels: int) -> Plain:
    """The image of which the header was read, and found to be of a size that may be decoded."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # our own bound is looked at before a pixel is decoded
    try:
        image = Image.open(file, formats=_heif() if kind == HEIC[0] else FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise Refused("the image could not be read") from None
    if image.width * image.height > pixels:
        raise Refused(f"the image has more than {pixels} pixels", "image_too_large")
    return image


def _heif() -> tuple[str]:
    """HEIC is read where the operator installed its decoder."""
    kind, module, name = HEIC
    try:
        import_module(module).register_heif_opener()
    except ImportError:
        reason = f"the image is {kind}, which is not read here; send jpeg, png or webp"
        raise Refused(reason) from None
    return (name,)


def _upright(image: Plain) -> Plain:
    """The image itself where it stands already."""
    from PIL import ImageOps

    if image.getexif().get(ORIENTATION, 1) not in range(2, 9):
        return image
    return ImageOps.exif_transpose(image)


def _passes(image: Plain) -> bool:
    """Whether engines take it as it is: all read these formats, and alike without an alpha."""
    plain = image.mode in (*PLAIN_MODES, "RGBA") and not _see_through(image)
    return plain and image.format in PASSED_ON and getattr(image, "n_frames", 1) == 1


def _see_through(image: Plain) -> bool:
    """Whether any pixel is; many pictures have an alpha that says nothing."""
    if not image.has_transparency_data:
        return False
    above = image if image.mode == "RGBA" else image.convert("RGBA")
    least: int = above.getchannel("A").getextrema()[0]
    return least < OPAQUE


def _lossy(image: Plain, file: BinaryIO) -> bool:
    """Whether it was compressed with loss.  Source: RFC 9649 2.5 for WebP."""
    if image.format == "WEBP":
        file.seek(0)
        head = file.read(WEBP_HEAD_BYTES)
        return b"VP8 " in head and b"VP8L" not in head
    return image.format in ("JPEG", HEIC[2])


def _flat(image: Plain) -> Plain:
    """RGB (or grey) on white, of 8 bits."""
    from PIL import Image

    if _see_through(image):
        above = image.convert("RGBA")
        below = Image.new("RGB", image.size, WHITE)
        below.paste(above, mask=above.getchannel("A"))
        return below
    if image.mode == REAL_MODE:
        raise Refused("the image's pixels are real numbers of an unknown range; send 8 or 16 bits")
    if image.mode.startswith(WIDE_MODE):
        return image.convert(WIDE_MODE).point(lambda level: level * TO_BYTE).convert("L")
    return image if image.mode in PLAIN_MODES else image.convert("RGB")


def _encoded(image: Plain, size: Size, lossy: bool) -> bytes:
    """In base64, without any metadata."""
    from PIL import Image

    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    image.info.clear()
    out = io.BytesIO()
    if lossy:
        image.save(out, "JPEG", quality=LOSSY_QUALITY)
    else:
        image.save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue())
