"""Describing a picture without a language model: tags, colours, size and the text read in it.

Everything said comes from a template; nothing is made up.  Colours are the eleven basic terms of
Berlin and Kay, each by its nearest kind in CIELAB.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from modgate.kit.local.onnx import session
from modgate.kit.local.reading import Reader
from modgate.plugin import Json, Refused
from modgate_vlm.checkpoint import SIZE, build, read_checkpoint

NOTICE = (
    "This answer comes from modgate-vision-composite, which is not a vision language model: it "
    "fills a template with image tags, colours, the size and text found by OCR. It does not "
    "understand the question and cannot reason about the picture."
)
COLOURS = {  # each term with its light and dark kinds
    "black": ((0, 0, 0), (25, 25, 25)),
    "white": ((255, 255, 255), (240, 240, 240)),
    "grey": ((128, 128, 128), (70, 70, 70), (195, 195, 195)),
    "red": ((200, 30, 30), (120, 20, 20), (230, 80, 80)),
    "orange": ((240, 140, 30), (255, 180, 100)),
    "yellow": ((240, 220, 50), (250, 240, 150)),
    "green": (
        *((50, 140, 60), (20, 70, 30), (100, 200, 100), (165, 225, 165), (120, 130, 50)),
        (0, 230, 0),
    ),
    "blue": (
        *((40, 80, 190), (15, 25, 90), (70, 130, 180), (135, 206, 235), (180, 215, 235)),
        *((0, 0, 255), (0, 0, 128), (0, 210, 235)),
    ),
    "purple": ((120, 50, 150), (75, 0, 110), (200, 165, 220)),
    "pink": ((240, 150, 180), (255, 105, 180), (250, 205, 215)),
    "brown": ((110, 70, 40), (65, 40, 25), (165, 115, 75), (210, 180, 140)),
}
TAGS, TAG_LEAST = 3, 0.1
COLOUR_LEAST = 0.05
CROP = 0.875
TEXT_LEAST = 0.7
_RGB_TO_XYZ = ((0.4124, 0.2126, 0.0193), (0.3576, 0.7152, 0.1192), (0.1805, 0.0722, 0.9505))
_WHITE = (0.9505, 1.0, 1.089)


def _lab(rgb: Json) -> Json:
    """sRGB 0..255 to CIELAB (D65)."""
    c = np.asarray(rgb, "f4") / 255
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = c @ np.array(_RGB_TO_XYZ, "f4") / np.array(_WHITE, "f4")
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def pixels(data: bytes) -> int:
    """How many a picture has."""
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    return image.width * image.height


def colours(image: Json) -> list[tuple[str, float]]:
    """The main colours with their share of the picture."""
    kinds = [(name, rgb) for name, many in COLOURS.items() for rgb in many]
    centres = _lab(np.array([rgb for _, rgb in kinds]))
    seen = _lab(np.asarray(image.resize((64, 64))).reshape(-1, 3))
    near = ((seen[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
    shares = dict.fromkeys(COLOURS, 0.0)
    for (name, _), count in zip(kinds, np.bincount(near, minlength=len(kinds)), strict=True):
        shares[name] += float(count) / len(seen)
    main = sorted(shares.items(), key=lambda pair: -pair[1])[:TAGS]
    return [(name, share) for name, share in main if share >= COLOUR_LEAST]


class Describer:
    """The composite; the text reader is loaded when it is first needed."""

    def __init__(self, checkpoint: Path, labels: Path, threads: int) -> None:
        self._net = session(build(read_checkpoint(checkpoint)), threads)
        names = json.loads(labels.read_text())
        self._labels = [names[str(index)].split(",")[0] for index in range(len(names))]
        self._threads = threads
        self._reader: Reader | None = None

    def describe(self, data: bytes) -> str:
        """A few honest sentences."""
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError):
            raise Refused("messages", "invalid_image_format", "no image") from None
        width, height = image.size
        tags = ", ".join(f"{name} ({share:.0%})" for name, share in self.tags(image))
        main = ", ".join(f"{name} ({share:.0%})" for name, share in colours(image))
        text = self.text(data)
        return "\n".join(
            [
                f"The image is {width} x {height} pixels.",
                f"It may show: {tags}." if tags else "No tag is likely enough to be named.",
                f"Main colours: {main}.",
                f"Text read in it:\n{text}" if text else "No text was found in it.",
            ]
        )

    def tags(self, image: Json) -> list[tuple[str, float]]:
        """The likeliest ImageNet classes; equal names are added up."""
        width, height = image.size
        side = min(width, height) * CROP
        left, top = (width - side) / 2, (height - side) / 2
        small = image.resize((SIZE, SIZE), box=(left, top, left + side, top + side))
        x = ((np.asarray(small, "f4") - 127) / 128).transpose(2, 0, 1)[None]
        shares: Json = self._net.run(None, {"image": x})[0]
        found: dict[str, float] = {}
        for index in shares[0].argsort()[::-1][: 2 * TAGS]:
            name = self._labels[index]
            found[name] = found.get(name, 0.0) + float(shares[0][index])
        likely = sorted(found.items(), key=lambda pair: -pair[1])[:TAGS]
        return [(name, share) for name, share in likely if share >= TAG_LEAST]

    def text(self, data: bytes) -> str:
        """The text that was read with some certainty, a line a line."""
        if self._reader is None:
            self._reader = Reader(self._threads)
        lines = self._reader.read(data)["lines"]
        kept = [line for line in lines if line["score"] >= TEXT_LEAST]
        kept.sort(key=lambda line: (min(y for _, y in line["box"]), min(x for x, _ in line["box"])))
        return "\n".join(line["text"] for line in kept)
