"""The local engine: RapidOCR with PP-OCRv6 small."""

from __future__ import annotations

from collections.abc import Sequence

from modgate.kit.local.missing import missing
from modgate.kit.local.reading import Reader
from modgate.kit.serve import Incoming, serve
from modgate.plugin import Json, LocalEngine, Refused, Report


class RapidOcr(LocalEngine):
    """Answers the home wire with lines and their boxes."""

    modality = "ocr"
    model = "pp-ocrv6-small"
    aliases = ("mistral-ocr-latest", "mistral-ocr-2512", "mistral-ocr-2505", "mistral-ocr-2503")
    facts = {"long_side": 2000}
    note = "PP-OCRv6 small: printed text; page images are made no larger than 2000 pixels"

    def missing(self) -> Sequence[str]:
        """The packages that are not installed; the models are inside them."""
        return missing("ocr", ["rapidocr", "onnxruntime"], [])

    def load(self, report: Report) -> None:
        """Load both networks."""
        report("loading PP-OCRv6 small")
        self._reader = Reader(self.threads)

    def serve(self, path: str) -> None:
        """Serve the home wire."""
        serve(path, {"/ocr": self._read})

    def _read(self, incoming: Incoming) -> Json:
        image = incoming.files.get("image")
        if image is None:
            raise Refused("image", "missing_required_parameter", "'image' is required")
        return self._reader.read(image)
