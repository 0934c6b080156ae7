"""Messages through the anthropic SDK."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator

import pytest
from sdks import anthropic

from clients.conftest import LOADED_S
from clients.serving import Served

pytestmark = pytest.mark.models

CHAT, EYES = "gpt-4o-mini", "gpt-4o"
ASKED: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=served.root, api_key=served.key, max_retries=0, timeout=LOADED_S
    ) as client:
        yield client


@pytest.fixture
async def async_client(served: Served) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=served.root, api_key=served.key, max_retries=0
    ) as client:
        yield client


def test_a_message_is_answered_with_text_and_usage(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(model=CHAT, max_tokens=12, system="Be brief.", messages=ASKED)

    assert reply.type == "message"
    assert reply.role == "assistant"
    assert reply.model == CHAT
    assert [block.type for block in reply.content] == ["text"]
    assert reply.content[0].text
    assert reply.stop_reason in ("end_turn", "max_tokens")
    assert 1 <= reply.usage.output_tokens <= 12
    assert reply.usage.input_tokens > 0
    assert str(reply._request_id).startswith("req_")


def test_the_stop_sequence_that_was_met_is_told(client: anthropic.Anthropic) -> None:
    asked = {"model": CHAT, "max_tokens": 12, "messages": ASKED, "stop_sequences": ["zzz", "o"]}
    exact = {"temperature": 0, "seed": 1}
    reply = client.messages.create(**asked, extra_body=exact)
    with client.messages.stream(**asked, extra_body=exact) as stream:
        streamed = stream.get_final_message()

    for told in (reply, streamed):
        assert (told.stop_reason, told.stop_sequence) == ("stop_sequence", "o")
        assert "o" not in told.content[0].text


def test_a_thread_is_sent_whole_for_none_is_kept(client: anthropic.Anthropic) -> None:
    """The SDK's threads, and its `tool_runner`, send only what is new to who keeps the rest."""
    asked = {"model": CHAT, "max_tokens": 8, "system": "Be brief.", "messages": ASKED}
    with pytest.raises(anthropic.BadRequestError, match="full conversation"):
        client.beta.messages.thread(**asked).send()
    thread = client.beta.messages.thread(
        **asked, unsupported_request_behavior="continue_unthreaded"
    )
    first = thread.send()
    second = thread.send({"role": "user", "content": "Again."})
    whole = client.messages.create(**{**asked, "messages": list(thread.messages[:3])})
    prompts = [
        reply.usage.input_tokens + (reply.usage.cache_read_input_tokens or 0)
        for reply in (first, second, whole)
    ]

    assert [message["role"] for message in thread.messages] == ["user", "assistant"] * 2
    assert prompts[0] < prompts[1] == prompts[2]


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-haiku-5-5"])
def test_the_names_of_pasted_examples_are_served(client: anthropic.Anthropic, model: str) -> None:
    reply = client.messages.create(model=model, max_tokens=2, messages=ASKED)

    assert reply.model == model
    assert client.models.retrieve(model).id == model
    assert model in [listed.id for listed in client.models.list()]


def test_a_wrong_method_is_told_in_the_words_of_the_client(client: anthropic.Anthropic) -> None:
    for path in ("/v1/models", "/v1/models/claude-haiku-5-5"):
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.post(path, cast_to=object, body={})

        assert caught.value.status_code == 405
        assert caught.value.body["type"] == "error"
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.get("/v1/messages", cast_to=object)

    assert caught.value.body["type"] == "error"
    assert caught.value.response.headers["allow"] == "POST"


def test_a_stream_says_what_the_whole_message_says(client: anthropic.Anthropic) -> None:
    asked = {"model": CHAT, "max_tokens": 12, "messages": ASKED}
    exact = {"temperature": 0, "seed": 1}
    whole = client.messages.create(**asked, extra_body=exact)
    with client.messages.stream(**asked, extra_body=exact) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()

    assert len(pieces) > 1
    assert "".join(pieces) == final.content[0].text == whole.content[0].text
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens
    prompts = [
        usage.input_tokens + (usage.cache_read_input_tokens or 0)
        for usage in (final.usage, whole.usage)
    ]
    assert prompts[0] == prompts[1] > 0


def test_max_tokens_ends_a_message(client: anthropic.Anthropic) -> None:
    asked = "Count from one to one hundred in words."
    reply = client.messages.create(
        model=CHAT,
        max_tokens=5,
        messages=[{"role": "user", "content": asked}],
        extra_body={"temperature": 0},
    )

    assert reply.stop_reason == "max_tokens"
    assert reply.usage.output_tokens == 5


def test_tokens_are_counted_as_they_are_billed(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model=CHAT, system="Be brief.", messages=ASKED)
    reply = client.messages.create(model=CHAT, system="Be brief.", messages=ASKED, max_tokens=1)

    usage = reply.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_a_schema_is_passed_on_to_the_engine(client: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"greeting": {"enum": ["moin", "servus"]}},
        "required": ["greeting"],
        "additionalProperties": False,
    }
    reply = client.messages.create(
        model=CHAT,
        max_tokens=30,
        messages=ASKED,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )

    said = "".join(reply.content[0].text.split())
    assert said in ('{"greeting":"moin"}', '{"greeting":"servus"}')


def test_a_picture_is_read(client: anthropic.Anthropic, picture_uri: str) -> None:
    data = picture_uri.partition(",")[2]
    assert base64.b64decode(data)
    reply = client.messages.create(
        model=EYES,
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": data},
                    },
                    {"type": "text", "text": "What does it say?"},
                ],
            }
        ],
    )

    assert "4711" in reply.content[0].text


def test_models_are_listed_and_retrieved(client: anthropic.Anthropic) -> None:
    listed = {model.id: model for model in client.models.list()}
    found = client.models.retrieve(CHAT)

    assert len({model.display_name for model in listed.values()}) == 7
    assert found == listed[CHAT]
    assert found.display_name == "smollm2-135m"
    assert found.type == "model"
    assert found.lifecycle == "active"
    assert found.created_at.tzinfo is not None


def test_what_claude_code_sends_is_answered(client: anthropic.Anthropic) -> None:
    asked = {"model": CHAT, "max_tokens": 8, "messages": ASKED, "betas": ["x-2025-06-27"]}
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    with client.beta.messages.stream(
        **asked, context_management=edits, thinking={"type": "adaptive"}
    ) as stream:
        message = stream.get_final_message()

    assert message.content
    assert message.context_management is not None
    assert message.context_management.applied_edits == []


def test_an_unknown_path_is_told_in_the_words_of_the_client(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.batches.list()

    assert caught.value.type == "not_found_error"
    assert caught.value.body["request_id"] == caught.value.request_id


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="smollm2-135m") as caught:
        client.messages.create(model="claude-9", max_tokens=1, messages=ASKED)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-9")

    assert caught.value.type == "not_found_error"
    assert caught.value.error_code == "model_not_found"
    assert str(caught.value.request_id).startswith("req_")


def test_a_bad_field_is_named(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: ") as caught:
        client.messages.create(model=CHAT, max_tokens=0, messages=ASKED)

    assert caught.value.type == "invalid_request_error"


def test_a_prompt_over_the_context_is_too_long(client: anthropic.Anthropic) -> None:
    asked = {"role": "user", "content": "many words " * 4000}

    with (
        pytest.raises(anthropic.BadRequestError, match="prompt is too long") as caught,
        client.messages.stream(model=CHAT, max_tokens=5, messages=[asked]),
    ):
        pass

    assert caught.value.error_code == "context_length_exceeded"


def test_a_wrong_key_is_refused(served: Served) -> None:
    wrong = served.key[:-4] + "aaaa"

    with (
        anthropic.Anthropic(base_url=served.root, api_key=wrong, max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        client.messages.create(model=CHAT, max_tokens=1, messages=ASKED)

    assert caught.value.type == "authentication_error"
    assert str(caught.value.request_id).startswith("req_")


def test_a_key_in_the_older_header_is_taken(served: Served) -> None:
    headers = {"x-api-key": served.key, "Authorization": anthropic.Omit()}

    with anthropic.Anthropic(base_url=served.root, api_key="unused", max_retries=0) as client:
        reply = client.messages.create(
            model=CHAT, max_tokens=1, messages=ASKED, extra_headers=headers
        )

    assert reply.usage.output_tokens == 1


async def test_the_async_client_creates_and_counts(
    async_client: anthropic.AsyncAnthropic,
) -> None:
    reply = await async_client.messages.create(model=CHAT, max_tokens=4, messages=ASKED)
    counted = await async_client.messages.count_tokens(model=CHAT, messages=ASKED)

    assert reply.content[0].text
    assert counted.input_tokens > 0


async def test_the_async_client_streams(async_client: anthropic.AsyncAnthropic) -> None:
    async with async_client.messages.stream(model=CHAT, max_tokens=6, messages=ASKED) as stream:
        pieces = [piece async for piece in stream.text_stream]
        final = await stream.get_final_message()

    assert "".join(pieces) == final.content[0].text
    assert 1 <= final.usage.output_tokens <= 6


def test_a_timeout_is_the_sdks_own(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.1).messages.create(
            model=CHAT, max_tokens=1500, messages=ASKED, extra_body={"logit_bias": {"2": -100}}
        )
