"""Models and error classes of the openai SDK."""

from __future__ import annotations

import pytest
from sdks import openai

from clients.serving import Served

pytestmark = pytest.mark.models

ASKED = [{"role": "user", "content": "Say hello."}]


def test_every_model_is_listed_with_the_names_that_it_answers_to(client: openai.OpenAI) -> None:
    listed = {model.id: model.model_dump() for model in client.models.list()}

    assert len({card["root"] for card in listed.values()}) == 7
    for name, card in listed.items():
        assert name in (card["root"], *card["aliases"])
        assert set(card["aliases"]) < set(listed)
    assert listed["whisper-1"]["root"] == "whisper-tiny.en"
    assert listed["gpt-4o-mini"]["root"] == "smollm2-135m"
    assert listed["text-embedding-3-small"]["root"] == "multilingual-e5-small"


@pytest.mark.parametrize("name", ["whisper-1", "whisper-tiny.en"])
def test_a_model_is_retrieved_by_name_and_by_alias(client: openai.OpenAI, name: str) -> None:
    found = client.models.retrieve(name)

    assert found.id == name
    assert found.model_dump()["root"] == "whisper-tiny.en"
    assert found.object == "model"
    assert found.owned_by == "modgate"


async def test_the_async_client_lists_models(async_client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in async_client.models.list()]

    assert "whisper-tiny.en" in listed


def test_an_unknown_model_is_not_found_and_the_message_lists_what_there_is(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=ASKED)

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.type == "invalid_request_error"
    assert "smollm2-135m" in str(caught.value)
    assert str(caught.value.request_id).startswith("req_")


def test_a_model_that_cannot_be_retrieved(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")

    assert caught.value.code == "model_not_found"


def test_a_path_that_does_not_exist(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.moderations.create(input="hello")

    assert caught.value.code == "unknown_url"
    assert str(caught.value.request_id).startswith("req_")


def test_a_base_url_that_is_off_by_its_version_is_told_the_path(served: Served) -> None:
    for base_url in (served.root, served.v1 + "/v1", served.root + "//v1"):
        with (
            openai.OpenAI(base_url=base_url, api_key=served.key, max_retries=0) as client,
            pytest.raises(openai.NotFoundError, match="did you mean /v1/chat/completions"),
        ):
            client.chat.completions.create(model="gpt-4o-mini", messages=[])


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"n": 1000}, "n"),
    ],
    ids=str,
)
def test_a_bad_field_of_a_chat_is_named(
    client: openai.OpenAI, changed: dict[str, object], param: str
) -> None:
    fields: dict[str, object] = {"model": "gpt-4o-mini", "messages": ASKED, **changed}

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**fields)

    assert str(caught.value.param).split("[")[0] == param
    assert caught.value.type == "invalid_request_error"
    assert str(caught.value.request_id).startswith("req_")


def test_a_prompt_over_the_context_is_told_in_openais_words(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "many words " * 4000}]

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=asked, stream=True)

    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is" in str(caught.value)


def test_a_chat_model_does_not_embed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="gpt-4o-mini", input="hello")

    assert "/v1/chat/completions" in str(caught.value)


def test_an_empty_embedding_input_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input=[])

    assert caught.value.param == "input"


def test_an_unknown_voice_is_refused_with_those_there_are(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="nobody", input="Hello.")

    assert caught.value.param == "voice"
    assert "alloy" in str(caught.value)


def test_a_timeout_is_the_sdks_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1, max_retries=0).chat.completions.create(
            model="gpt-4o-mini", messages=ASKED, max_tokens=1500, logit_bias={"2": -100}
        )


@pytest.mark.parametrize("text", ["", "...", "\U0001f600"])
def test_a_text_with_nothing_to_speak_is_refused(client: openai.OpenAI, text: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="alloy", input=text)

    assert caught.value.param == "input"


def test_a_text_that_the_voice_cannot_read_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="\u4f60\u597d")


@pytest.mark.parametrize(
    "sound", [b"", b"this is text and no sound at all", b"RIFF\x24\0\0\0WAVEfmt "], ids=len
)
def test_a_file_that_is_no_recording_is_refused(client: openai.OpenAI, sound: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("sound.wav", sound))

    assert caught.value.param == "file"


def test_a_picture_sent_to_a_text_model_names_the_one_that_sees(
    client: openai.OpenAI, picture_uri: str
) -> None:
    parts = [{"type": "image_url", "image_url": {"url": picture_uri}}]

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": parts}]
        )

    assert "modgate-vision-composite" in str(caught.value)


def test_a_wrong_key_is_refused_and_not_repeated(served: Served) -> None:
    wrong = served.key[:-4] + "aaaa"

    with (
        openai.OpenAI(base_url=served.v1, api_key=wrong, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="gpt-4o-mini", messages=ASKED)

    assert caught.value.code == "invalid_api_key"
    assert wrong not in str(caught.value.response.text)
    assert str(caught.value.request_id).startswith("req_")


async def test_the_async_client_raises_the_same_errors(
    async_client: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await async_client.embeddings.create(model="gpt-9", input="hello")

    assert caught.value.code == "model_not_found"
