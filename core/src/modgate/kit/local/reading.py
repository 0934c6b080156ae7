"""Reading the text of a picture with RapidOCR (PP-OCRv6 small), within bounds of time and memory.

The long side is capped and thin pictures are padded: with the library's defaults a 20 x 3000
picture takes minutes.
"""

from __future__ import annotations

import io
from pathlib import Path

from modgate.kit.local.onnx import session
from modgate.plugin import Json, JsonObject, Refused

LONG_SIDE = 2000
DETECT_SIDE = 1280
LEAST_SIDE = 32
THIN = 8


class Reader:
    """The recogniser; `read` takes an image's bytes."""

    def __init__(self, threads: int) -> None:
        import cv2
        import rapidocr
        from omegaconf import flag_override

        cv2.setNumThreads(threads)
        models = Path(rapidocr.__file__).parent / "models"
        self._ocr: Json = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_preprocess_img": False,
                "Global.use_vertical_padding": False,
                "Global.use_cls": False,
                "Det.limit_side_len": DETECT_SIDE,
                "Det.limit_type": "max",
            }
        )
        for part, name in (("Det", "PP-OCRv6_det_small"), ("Rec", "PP-OCRv6_rec_small")):
            section = self._ocr.cfg[part]
            with flag_override(section, "allow_objects", True):
                section.session = session(models / f"{name}.onnx", threads)

    def read(self, data: bytes) -> JsonObject:
        """`{width, height, lines: [{text, box, score}]}`, boxes in the picture's own pixels."""
        import numpy as np
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError):
            raise Refused("image", "invalid_image_format", "the image could not be read") from None
        width, height = image.size
        scale = min(1.0, LONG_SIDE / max(width, height))
        if scale < 1:
            image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))))
        found = self._ocr(np.ascontiguousarray(np.asarray(_padded(image))[:, :, ::-1]))
        return {"width": width, "height": height, "lines": _lines(found, scale)}


def _padded(image: Json) -> Json:
    """Padded to the right and below, so that boxes stay where they are."""
    from PIL import Image

    width, height = image.size
    least = max(LEAST_SIDE, max(width, height) // THIN)
    if min(width, height) >= least:
        return image
    ground = Image.new("RGB", (max(width, least), max(height, least)), image.getpixel((0, 0)))
    ground.paste(image)
    return ground


def _lines(found: Json, scale: float) -> list[JsonObject]:
    if found is None or getattr(found, "txts", None) is None:
        return []
    return [
        {
            "text": text,
            "box": [[round(float(x) / scale, 1), round(float(y) / scale, 1)] for x, y in box],
            "score": round(float(score), 4),
        }
        for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
    ]
