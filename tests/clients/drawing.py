"""Pictures and documents drawn for the tests, in fonts of this machine."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from clients.serving import without

FONTS = Path("/usr/share/fonts/truetype")
FACES = {
    "DejaVu Sans": "dejavu/DejaVuSans.ttf",
    "DejaVu Serif": "dejavu/DejaVuSerif.ttf",
    "Liberation Sans": "liberation/LiberationSans-Regular.ttf",
    "Liberation Serif": "liberation/LiberationSerif-Regular.ttf",
    "Liberation Mono": "liberation/LiberationMono-Regular.ttf",
    "FreeSans": "freefont/FreeSans.ttf",
    "FreeSerif": "freefont/FreeSerif.ttf",
}
SIZE = 40
PACKAGES = "apt-get install fonts-dejavu-core fonts-liberation fonts-freefont-ttf"


def font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A face of `FACES`; the test is skipped (in CI: fails) where it is not installed."""
    path = FONTS / FACES[face]
    if not path.is_file():
        without(f"the font {face} is missing: {PACKAGES}")
    return ImageFont.truetype(str(path), size)


def page(lines: Sequence[str]) -> Image.Image:
    """A white page with a line of text under the other, in the font that pillow brings."""
    letters = ImageFont.load_default(SIZE)
    picture = Image.new("RGB", (20 * SIZE, 2 * SIZE * (len(lines) + 1)), "white")
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        pen.text((SIZE, SIZE + 2 * SIZE * row), line, fill="black", font=letters)
    return picture


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def pdf(pages: Sequence[Image.Image]) -> bytes:
    """The pictures as the pages of a PDF file."""
    out = io.BytesIO()
    pages[0].save(out, "PDF", save_all=True, append_images=list(pages[1:]), resolution=150)
    return out.getvalue()


def data_uri(kind: str, data: bytes) -> str:
    """A file as SDKs send it inside JSON."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
