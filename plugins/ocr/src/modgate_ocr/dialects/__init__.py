"""How engines spell text recognition."""

from __future__ import annotations

from modgate_ocr.dialects.home import OcrHome
from modgate_ocr.dialects.paddlex import OcrPaddleX
from modgate_ocr.dialects.rapidocr_api import OcrRapidOcrApi
from modgate_ocr.dialects.vllm import OcrVllm

DIALECTS = (OcrHome, OcrRapidOcrApi, OcrPaddleX, OcrVllm)

__all__ = ["DIALECTS", "OcrHome", "OcrPaddleX", "OcrRapidOcrApi", "OcrVllm"]
