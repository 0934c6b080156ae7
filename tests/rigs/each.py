"""One request of each modality but llm, to the models that a test's gateway has by itself."""

from __future__ import annotations

from collections.abc import Mapping

from oracle import requests as ask
from oracle.requests import ClientRequest

BESIDES_CHAT: Mapping[str, ClientRequest] = {
    "vlm": ask.vision(3, model="eyes"),
    "asr": ask.transcription(4, model="ears"),
    "tts": ask.speech(5, model="voice"),
    "ocr": ask.ocr(6, model="pages"),
    "embedding": ask.embeddings(7, model="vectors"),
    "rerank": ask.rerank(8, model="ranks"),
}
