"""Chat, completions and embeddings through the openai SDK."""

from __future__ import annotations

import asyncio
import math

import pytest
from sdks import openai

pytestmark = pytest.mark.models

CHAT, EYES = "gpt-4o-mini", "gpt-4o"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = [{"role": "user", "content": "Say hello."}]


def test_a_chat_answers_with_text_and_usage(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=CHAT, messages=ASKED, max_tokens=12)

    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage
    assert 1 <= reply.usage.completion_tokens <= 12
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_max_tokens_ends_a_chat_by_length(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "Count from one to one hundred in words."}]

    reply = client.chat.completions.create(
        model=CHAT, messages=asked, max_completion_tokens=5, temperature=0
    )

    assert reply.choices[0].finish_reason == "length"
    assert reply.usage
    assert reply.usage.completion_tokens == 5


def test_a_stream_says_what_the_whole_reply_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model=CHAT, messages=ASKED, max_tokens=12, temperature=0, seed=1
    )
    chunks = list(
        client.chat.completions.create(
            model=CHAT,
            messages=ASKED,
            max_tokens=12,
            temperature=0,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]

    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 1
    assert whole.usage
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert not any(chunk.usage for chunk in chunks[:-1])


def test_a_stream_without_the_option_carries_no_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model=CHAT, messages=ASKED, max_tokens=4, stream=True)
    )

    assert chunks
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("n", range(1, 9))
def test_choices_beyond_the_engines_slots_are_all_counted(client: openai.OpenAI, n: int) -> None:
    asked = {"model": CHAT, "messages": ASKED, "max_tokens": 3, "n": n, "temperature": 0}
    reply = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    said = [""] * n
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""

    assert [choice.index for choice in reply.choices] == list(range(n))
    assert said == [choice.message.content for choice in reply.choices]
    assert all(said)
    assert chunks[-1].usage
    assert reply.usage
    assert n <= chunks[-1].usage.completion_tokens == reply.usage.completion_tokens <= 3 * n


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str
)
@pytest.mark.parametrize("model", [CHAT, EYES])
def test_a_model_without_tools_refuses_to_be_forced(
    client: openai.OpenAI, model: str, choice: object
) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot call tools") as caught:
        client.chat.completions.create(
            model=model, messages=ASKED, tools=[WEATHER], tool_choice=choice
        )

    assert caught.value.param == "tool_choice"


def test_a_model_without_tools_says_that_it_ignored_them(client: openai.OpenAI) -> None:
    asked = {"model": CHAT, "messages": ASKED, "max_tokens": 2}
    plain = client.chat.completions.create(**asked)
    raw = client.chat.completions.with_raw_response.create(**asked, tools=[WEATHER])
    reply = raw.parse()

    assert raw.headers["x-modgate-ignored"] == "tools"
    assert reply.usage
    assert plain.usage
    assert reply.usage.prompt_tokens == plain.usage.prompt_tokens


def test_a_schema_is_passed_on_to_the_engine(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"greeting": {"enum": ["moin", "servus"]}},
        "required": ["greeting"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model=CHAT,
        messages=ASKED,
        max_tokens=30,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "greeting", "schema": schema, "strict": True},
        },
    )

    content = "".join((reply.choices[0].message.content or "").split())
    assert content in ('{"greeting":"moin"}', '{"greeting":"servus"}')


def test_a_completion_continues_its_prompt(client: openai.OpenAI) -> None:
    reply = client.completions.create(model=CHAT, prompt="Once upon a", max_tokens=6)

    assert reply.object == "text_completion"
    assert reply.choices[0].text
    assert reply.usage
    assert 1 <= reply.usage.completion_tokens <= 6


def test_a_streamed_completion_comes_in_pieces(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model=CHAT,
            prompt="One, two, three,",
            max_tokens=8,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [chunk.choices[0].text for chunk in chunks if chunk.choices]

    assert len([piece for piece in pieces if piece]) > 1
    assert "four" in "".join(pieces)
    assert chunks[-1].usage
    assert 1 <= chunks[-1].usage.completion_tokens <= 8


def test_a_vision_chat_reads_the_text_of_a_picture(client: openai.OpenAI, picture_uri: str) -> None:
    reply = client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What does it say?"},
                    {"type": "image_url", "image_url": {"url": picture_uri}},
                ],
            }
        ],
    )

    assert "4711" in (reply.choices[0].message.content or "")
    assert reply.usage
    assert reply.usage.prompt_tokens > 0


def test_base64_and_plain_embeddings_are_the_same(client: openai.OpenAI) -> None:
    texts = ["The harbour is full of ships.", "Bread is baked in an oven."]

    packed = client.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = client.embeddings.create(
        model="text-embedding-3-small", input=texts, encoding_format="float"
    )

    assert [row.index for row in packed.data] == [0, 1]
    for left, right in zip(packed.data, plain.data, strict=True):
        assert left.embedding == pytest.approx(right.embedding, abs=1e-6)
        assert math.hypot(*left.embedding) == pytest.approx(1, abs=1e-3)
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens > 0


def test_near_texts_have_near_embeddings(client: openai.OpenAI) -> None:
    texts = ["a ship in the harbour", "a boat in the port", "the price of fresh bread"]
    reply = client.embeddings.create(model="text-embedding-3-small", input=texts)
    ship, boat, bread = (row.embedding for row in reply.data)

    assert math.dist(ship, boat) < math.dist(ship, bread)


async def test_the_async_client_chats(async_client: openai.AsyncOpenAI) -> None:
    reply = await async_client.chat.completions.create(model=CHAT, messages=ASKED, max_tokens=6)

    assert reply.choices[0].message.content
    assert reply.usage
    assert 1 <= reply.usage.completion_tokens <= 6


async def test_the_async_client_streams(async_client: openai.AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model=CHAT,
        messages=ASKED,
        max_tokens=6,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage
    assert 1 <= chunks[-1].usage.completion_tokens <= 6


async def test_streams_that_are_left_free_their_slots(async_client: openai.AsyncOpenAI) -> None:
    """Left running, each would hold a slot for the 1,500 tokens that take half a minute."""
    async with asyncio.timeout(20):
        for _ in range(4):  # more than there are slots
            stream = await async_client.chat.completions.create(
                model=CHAT,
                messages=ASKED,
                max_tokens=1500,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    break
            await stream.close()
        reply = await async_client.chat.completions.create(model=CHAT, messages=ASKED, max_tokens=2)

    assert reply.usage
    assert reply.usage.completion_tokens <= 2


async def test_the_async_client_embeds(async_client: openai.AsyncOpenAI) -> None:
    reply = await async_client.embeddings.create(model="text-embedding-3-small", input="harbour")

    assert math.hypot(*reply.data[0].embedding) == pytest.approx(1, abs=1e-3)


async def test_embeddings_asked_at_once_cost_what_they_cost_alone(
    async_client: openai.AsyncOpenAI,
) -> None:
    texts = [" ".join(["harbour"] * (n % 7 + 1)) + f" {n}" for n in range(16)]

    async def embed(text: str) -> openai.types.CreateEmbeddingResponse:
        return await async_client.embeddings.create(model="text-embedding-3-small", input=text)

    together = await asyncio.gather(*map(embed, texts))
    for text, reply in list(zip(texts, together, strict=True))[::5]:
        alone = await embed(text)
        assert reply.usage == alone.usage
        pairs = zip(reply.data[0].embedding, alone.data[0].embedding, strict=True)
        assert sum(a * b for a, b in pairs) > 0.999
