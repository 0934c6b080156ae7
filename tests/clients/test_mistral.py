"""Reading documents, hearing speech and embedding texts through the mistralai SDK."""

from __future__ import annotations

import base64
import re

import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel
from sdks import mistral, mistral_errors, mistral_models

from clients.drawing import data_uri, page, pdf, png
from clients.serving import Served
from clients.speaking import SAID

pytestmark = pytest.mark.models

MODEL = "mistral-ocr-latest"


@pytest.fixture(scope="session")
def document_uri() -> str:
    """A PDF of two pages."""
    pages = [page(["Delivery note", "Oranges 12"]), page(["Receipt", "Lemons 34"])]
    return data_uri("application/pdf", pdf(pages))


def test_a_picture_is_read(reader: mistral.Mistral, picture_uri: str) -> None:
    reply = reader.ocr.process(
        model=MODEL, document={"type": "image_url", "image_url": picture_uri}
    )

    assert reply.model == MODEL
    assert [found.index for found in reply.pages] == [0]
    assert reply.pages[0].markdown.split() == ["Invoice", "4711"]
    assert reply.pages[0].dimensions
    assert (reply.pages[0].dimensions.width, reply.pages[0].dimensions.height) == (800, 160)
    assert reply.usage_info.pages_processed == 1


def test_a_pdf_is_read_page_by_page(reader: mistral.Mistral, document_uri: str) -> None:
    reply = reader.ocr.process(
        model=MODEL, document={"type": "document_url", "document_url": document_uri}
    )

    assert [found.index for found in reply.pages] == [0, 1]
    assert reply.pages[0].markdown.split() == ["Delivery", "note", "Oranges", "12"]
    assert reply.pages[1].markdown.split() == ["Receipt", "Lemons", "34"]
    assert reply.usage_info.pages_processed == 2
    assert reply.usage_info.doc_size_bytes == _size(document_uri)


def _size(uri: str) -> int:
    encoded = uri.partition(",")[2]
    return len(encoded) * 3 // 4 - len(re.findall("=", encoded[-2:]))


def test_one_page_of_a_pdf_is_read_alone(reader: mistral.Mistral, document_uri: str) -> None:
    reply = reader.ocr.process(
        model=MODEL, document={"type": "document_url", "document_url": document_uri}, pages=[1]
    )

    assert [found.index for found in reply.pages] == [1]
    assert "Lemons" in reply.pages[0].markdown
    assert reply.usage_info.pages_processed == 1


def test_a_table_is_moved_out_of_the_markdown(reader: mistral.Mistral) -> None:
    rows = [("Fruit", "Pieces", "Price"), ("Apples", "12", "3.40"), ("Lemons", "34", "7.80")]
    picture = Image.new("RGB", (900, 260), "white")
    pen, letters = ImageDraw.Draw(picture), ImageFont.load_default(32)
    for at, row in enumerate(rows):
        for left, cell in zip((40, 400, 680), row, strict=True):
            pen.text((left, 30 + 70 * at), cell, fill="black", font=letters)

    reply = reader.ocr.process(
        model=None,
        document={"type": "image_url", "image_url": {"url": data_uri("image/png", png(picture))}},
        table_format="markdown",
    )

    (found,) = reply.pages
    assert found.markdown == "[tbl-0.md](tbl-0.md)"
    assert found.tables
    written = found.tables[0].content.split("\n")
    assert [line.strip("| ").split(" | ") for line in (written[0], *written[2:])] == [
        list(row) for row in rows
    ]
    assert found.blocks
    assert [block.type for block in found.blocks] == ["table"]


def test_two_columns_are_read_one_after_the_other(reader: mistral.Mistral) -> None:
    left = ["the ships came home late", "with apples in the hold", "and nobody was waiting"]
    right = ["on the hill a small lamp", "was burning all the night", "until the morning rose"]
    picture = Image.new("RGB", (1100, 220), "white")
    pen, letters = ImageDraw.Draw(picture), ImageFont.load_default(32)
    for at, row in enumerate(zip(left, right, strict=True)):
        for edge, text in zip((30, 620), row, strict=True):
            pen.text((edge, 30 + 55 * at), text, fill="black", font=letters)

    reply = reader.ocr.process(
        model=MODEL,
        document={"type": "image_url", "image_url": data_uri("image/png", png(picture))},
    )

    assert reply.pages[0].markdown.split() == " ".join([*left, *right]).split()


async def test_the_async_client_reads(served: Served, picture_uri: str) -> None:
    async with mistral.Mistral(server_url=served.root, api_key=served.key) as client:
        reply = await client.ocr.process_async(
            model=MODEL, document={"type": "image_url", "image_url": picture_uri}
        )

    assert "4711" in reply.pages[0].markdown


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,%%%", "data:text/plain;base64,aGVsbG8gd29ybGQ="]
)
def test_a_document_that_is_none_is_a_validation_error(reader: mistral.Mistral, url: str) -> None:
    with pytest.raises(mistral_errors.HTTPValidationError) as caught:
        reader.ocr.process(model=MODEL, document={"type": "image_url", "image_url": url})

    assert caught.value.status_code == 422
    assert caught.value.data.detail
    assert list(caught.value.data.detail[0].loc) == ["body", "document", "image_url"]


def test_a_page_that_a_pdf_does_not_have_is_a_validation_error(
    reader: mistral.Mistral, document_uri: str
) -> None:
    with pytest.raises(mistral_errors.HTTPValidationError) as caught:
        reader.ocr.process(
            model=MODEL, document={"type": "document_url", "document_url": document_uri}, pages=[7]
        )

    assert caught.value.data.detail
    assert caught.value.data.detail[0].loc[1] == "pages"


def test_a_remote_document_is_refused_unless_the_config_allows_it(reader: mistral.Mistral) -> None:
    document = {"type": "document_url", "document_url": "http://127.0.0.1:9/secret.pdf"}

    with pytest.raises(mistral_errors.HTTPValidationError) as caught:
        reader.ocr.process(model=MODEL, document=document)

    assert "fetch" in str(caught.value).lower()


def test_an_unknown_model_is_not_found(reader: mistral.Mistral, picture_uri: str) -> None:
    with pytest.raises(mistral_errors.SDKError) as caught:
        reader.ocr.process(model="ocr-9", document={"type": "image_url", "image_url": picture_uri})

    assert caught.value.status_code == 404
    assert "model_not_found" in str(caught.value)


def test_a_wrong_key_is_unauthorized(served: Served, picture_uri: str) -> None:
    wrong = served.key[:-4] + "aaaa"

    with (
        mistral.Mistral(server_url=served.root, api_key=wrong) as client,
        pytest.raises(mistral_errors.SDKError) as caught,
    ):
        client.ocr.process(model=MODEL, document={"type": "image_url", "image_url": picture_uri})

    assert caught.value.status_code == 401


@pytest.mark.parametrize(("dtype", "count"), [("float", 384), ("int8", 384), ("ubinary", 48)])
def test_texts_are_embedded_in_the_type_that_was_asked_for(
    reader: mistral.Mistral, dtype: mistral_models.EmbeddingDtype, count: int
) -> None:
    reply = reader.embeddings.create(
        model="mistral-embed", inputs=["a boat in the port", "fresh bread"], output_dtype=dtype
    )

    assert [row.index for row in reply.data] == [0, 1]
    assert [len(row.embedding or ()) for row in reply.data] == [count] * 2
    assert reply.usage.prompt_tokens


def test_models_are_listed_with_what_they_can_do(reader: mistral.Mistral) -> None:
    listed = {card.id: card for card in reader.models.list().data or ()}
    found = reader.models.retrieve(model_id="whisper-1")

    assert isinstance(listed[MODEL], mistral_models.BaseModelCard)
    assert isinstance(found, mistral_models.BaseModelCard)
    assert listed[MODEL].capabilities.ocr
    assert listed["gpt-4o"].capabilities.vision
    assert found.capabilities.audio_transcription
    assert not found.capabilities.completion_chat


def test_what_it_says_it_hears(reader: mistral.Mistral) -> None:
    asked = {"model": "tts-1", "voice_id": "alloy", "input": SAID, "response_format": "wav"}
    whole = reader.audio.speech.complete(**asked)
    with reader.audio.speech.complete(**asked, stream=True) as stream:
        events = [event.data for event in stream]

    pieces = [
        event.audio_data
        for event in events
        if isinstance(event, mistral_models.SpeechStreamAudioDelta)
    ]
    streamed = b"".join(map(base64.b64decode, pieces))
    for content in (base64.b64decode(whole.audio_data), streamed):
        heard = reader.audio.transcriptions.complete(
            model="whisper-1", file={"file_name": "said.wav", "content": content}
        )
        assert "brown fox jumps over the lazy dog" in heard.text.lower()
    assert isinstance(events[-1], mistral_models.SpeechStreamDone)
    assert events[-1].usage.total_tokens


def test_speech_is_transcribed(reader: mistral.Mistral, spoken: bytes) -> None:
    heard = reader.audio.transcriptions.complete(
        model="whisper-1",
        file={"file_name": "said.wav", "content": spoken},
        timestamp_granularities=["word"],
    )

    assert heard.model == "whisper-1"
    assert heard.language == "en"
    assert [row.text for row in heard.segments or ()] == heard.text.split()
    assert heard.usage.prompt_audio_seconds


def test_a_transcription_is_streamed(reader: mistral.Mistral, spoken: bytes) -> None:
    with reader.audio.transcriptions.stream(
        model="whisper-1", file={"file_name": "said.wav", "content": spoken}
    ) as stream:
        events = [event.data for event in stream]

    said = [
        event.text
        for event in events
        if isinstance(event, mistral_models.TranscriptionStreamTextDelta)
    ]
    assert isinstance(events[-1], mistral_models.TranscriptionStreamDone)
    assert events[-1].text == "".join(said)
    assert events[-1].usage.prompt_audio_seconds


def test_a_picture_in_a_chat_is_read(reader: mistral.Mistral, picture_uri: str) -> None:
    reply = reader.chat.complete(
        model="gpt-4o",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What does it say?"},
                    {"type": "image_url", "image_url": picture_uri},
                ],
            }
        ],
        random_seed=1,
    )

    assert "4711" in str(reply.choices[0].message.content)
    assert reply.usage.completion_tokens


ASKED = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}


def test_a_chat_is_streamed_and_its_last_chunk_has_the_usage(reader: mistral.Mistral) -> None:
    with reader.chat.stream(**ASKED, max_tokens=8, random_seed=1, temperature=0.0) as stream:
        chunks = [event.data for event in stream]

    said = [chunk.choices[0].delta.content for chunk in chunks]
    assert all(isinstance(text, str) for text in said)
    assert "".join(map(str, said))
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    assert chunks[-1].usage
    assert 0 < (chunks[-1].usage.completion_tokens or 0) <= 8
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_the_async_client_chats_whole_and_streamed(served: Served) -> None:
    async with mistral.Mistral(server_url=served.root, api_key=served.key) as client:
        whole = await client.chat.complete_async(**ASKED, max_tokens=8, temperature=0.0, n=2)
        stream = await client.chat.stream_async(**ASKED, max_tokens=8, temperature=0.0)
        chunks = [event.data async for event in stream]

    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.usage.total_tokens
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].usage


def test_a_streamed_chat_about_a_picture_has_its_usage(
    reader: mistral.Mistral, picture_uri: str
) -> None:
    picture = {"type": "image_url", "image_url": picture_uri}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Read it."}, picture]}]
    with reader.chat.stream(model="gpt-4o", messages=messages) as stream:
        chunks = [event.data for event in stream]

    assert "4711" in "".join(str(chunk.choices[0].delta.content) for chunk in chunks)
    assert chunks[-1].usage


def test_what_a_chat_cannot_mean_is_a_validation_error(reader: mistral.Mistral) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    for wrong in (
        {"temperature": 9},
        {"safe_prompt": True},
        {"tools": [tool], "tool_choice": "any"},
    ):
        with pytest.raises(mistral_errors.HTTPValidationError) as caught:
            reader.chat.complete(**ASKED, **wrong)

        assert caught.value.data.detail
        assert caught.value.data.detail[0].loc[-1] in wrong


def test_vectors_that_a_model_cannot_make_are_a_validation_error(reader: mistral.Mistral) -> None:
    with pytest.raises(mistral_errors.HTTPValidationError) as caught:
        reader.embeddings.create(model="mistral-embed", inputs=["a boat"], output_dimension=0)

    assert caught.value.data.detail
    assert caught.value.data.detail[0].loc == ["body", "output_dimension"]


def test_an_answer_of_a_given_form_is_asked_for_as_the_sdk_does(reader: mistral.Mistral) -> None:
    class Fruit(BaseModel):
        name: str

    reply = reader.chat.parse(Fruit, **ASKED, max_tokens=40, temperature=0.0, random_seed=1)

    assert isinstance(reply.choices[0].message.parsed, Fruit)
