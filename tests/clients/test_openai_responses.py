"""Responses through the openai SDK."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel
from sdks import openai

pytestmark = pytest.mark.models

CHAT, EYES = "gpt-4o-mini", "gpt-4o"


class Greeting(BaseModel):
    """A form in which any model comes to an end: the SDK raises on a stream that was cut."""

    greeting: Literal["moin", "servus"]


def test_a_response_has_text_and_usage(client: openai.OpenAI) -> None:
    reply = client.responses.create(
        model=CHAT, instructions="Be brief.", input="Say hello.", max_output_tokens=12
    )

    assert reply.output_text
    assert reply.status in ("completed", "incomplete")
    assert reply.model == CHAT
    assert reply.usage
    assert 1 <= reply.usage.output_tokens <= 12
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
    assert reply.usage.output_tokens_details.reasoning_tokens == 0
    assert str(reply._request_id).startswith("req_")


def test_a_stream_says_what_the_whole_response_says(client: openai.OpenAI) -> None:
    exact = {"extra_body": {"seed": 1}, "temperature": 0, "text_format": Greeting}
    whole = client.responses.parse(model=CHAT, input="Say hello.", **exact)
    with client.responses.stream(model=CHAT, input="Say hello.", **exact) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]

    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_parsed == whole.output_parsed
    assert isinstance(final.output_parsed, Greeting)
    assert final.usage
    assert whole.usage
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens


def test_the_longest_output_ends_a_response(client: openai.OpenAI) -> None:
    reply = client.responses.create(
        model=CHAT,
        input="Count from one to one hundred in words.",
        max_output_tokens=5,
        temperature=0,
    )

    assert reply.status == "incomplete"
    assert reply.incomplete_details
    assert reply.incomplete_details.reason == "max_output_tokens"
    assert reply.usage
    assert reply.usage.output_tokens == 5


def test_tokens_are_counted_as_they_are_billed(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model=CHAT, input="Say hello.")
    reply = client.responses.create(model=CHAT, input="Say hello.", max_output_tokens=1)

    assert reply.usage
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == reply.usage.input_tokens


def test_a_picture_is_read(client: openai.OpenAI, picture_uri: str) -> None:
    reply = client.responses.create(
        model=EYES,
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What does it say?"},
                    {"type": "input_image", "image_url": picture_uri, "detail": "auto"},
                ],
            }
        ],
    )

    assert "4711" in reply.output_text


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_named(
    client: openai.OpenAI, changed: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{"model": CHAT, "input": "Hi", **changed})

    assert caught.value.param == param
    assert str(caught.value.request_id).startswith("req_")


def test_a_prompt_over_the_context_is_told_in_the_words_of_this_route(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError, match="exceeds the context window") as caught:
        client.responses.create(model=CHAT, input="many words " * 4000, stream=True)

    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "input"


def test_a_model_that_does_not_converse_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.responses.create(model="text-embedding-3-small", input="Hi")


async def test_the_async_client_streams(async_client: openai.AsyncOpenAI) -> None:
    async with async_client.responses.stream(
        model=CHAT, input="Say hello.", text_format=Greeting
    ) as stream:
        deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
        final = await stream.get_final_response()

    assert "".join(deltas) == final.output_text
