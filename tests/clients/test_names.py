"""Names of models that stand in other people's code are served as they stand there."""

from __future__ import annotations

import pytest
from sdks import openai

pytestmark = pytest.mark.models

NAMES = {
    "whisper-tiny.en": ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"],
    "hibari": ["tts-1", "tts-1-hd", "gpt-4o-mini-tts"],
    "pp-ocrv6-small": ["mistral-ocr-latest", "mistral-ocr-2505"],
    "multilingual-e5-small": [
        "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002",
        "embed-v4.0", "embed-english-v3.0", "embed-multilingual-v3.0",
        "voyage-3.5", "voyage-3.5-lite", "voyage-3-large", "mistral-embed",
    ],
    "e5-small-ranker": [
        "rerank-v3.5", "rerank-english-v3.0", "rerank-multilingual-v3.0",
        "rerank-2", "rerank-2-lite", "rerank-2.5", "rerank-2.5-lite",
    ],
}  # fmt: skip  # rows as they are read


@pytest.mark.parametrize(
    ("model", "name"), [(model, name) for model, names in NAMES.items() for name in names]
)
def test_a_name_is_served_by_a_local_model(client: openai.OpenAI, model: str, name: str) -> None:
    found = client.models.retrieve(name)

    assert (found.id, found.model_dump()["root"]) == (name, model)


VOICES = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
]  # fmt: skip  # rows as they are read


@pytest.mark.parametrize("voice", VOICES)
def test_each_of_openais_voices_is_spoken(client: openai.OpenAI, voice: str) -> None:
    said = client.audio.speech.create(
        model="gpt-4o-mini-tts", voice=voice, input="Hi.", instructions="calm"
    )

    assert len(said.content) > 1000


def test_text_that_the_voice_cannot_speak_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="nova", input="你好。")

    assert caught.value.param == "input"
