"""Chat and embeddings through langchain-openai."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sdks import langchain_openai, openai

from clients.serving import Served

pytestmark = pytest.mark.models


def chat_through(served: Served, **connections: object) -> langchain_openai.ChatOpenAI:
    return langchain_openai.ChatOpenAI(
        **connections,
        base_url=served.v1,
        api_key=SecretStr(served.key),
        model="gpt-4o-mini",
        max_tokens=8,
        temperature=0,
        max_retries=0,
    )


@pytest.fixture
def chat(served: Served) -> Iterator[langchain_openai.ChatOpenAI]:
    with openai.DefaultHttpxClient() as connections:
        yield chat_through(served, http_client=connections)


@pytest.fixture
def embeddings(served: Served) -> langchain_openai.OpenAIEmbeddings:
    return langchain_openai.OpenAIEmbeddings(
        base_url=served.v1,
        api_key=SecretStr(served.key),
        model="text-embedding-3-small",
        check_embedding_ctx_length=False,
        max_retries=0,
    )


def test_a_chat_is_invoked(chat: langchain_openai.ChatOpenAI) -> None:
    reply = chat.invoke("Say hello.")

    assert reply.content
    assert reply.usage_metadata
    assert 1 <= reply.usage_metadata["output_tokens"] <= 8
    assert reply.response_metadata["finish_reason"] in ("stop", "length")


def test_a_chat_is_streamed_with_its_usage(chat: langchain_openai.ChatOpenAI) -> None:
    chunks = list(chat.stream("Say hello.", stream_usage=True))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk

    assert len([chunk for chunk in chunks if chunk.content]) > 1
    assert total.content == chat.invoke("Say hello.").content
    assert total.usage_metadata
    assert 1 <= total.usage_metadata["output_tokens"] <= 8


async def test_a_chat_is_streamed_async(served: Served) -> None:
    async with openai.DefaultAsyncHttpxClient() as connections:
        chat = chat_through(served, http_async_client=connections)
        pieces = [chunk.content async for chunk in chat.astream("Say hello.")]

    assert len([piece for piece in pieces if piece]) > 1


def test_queries_and_documents_are_embedded(embeddings: langchain_openai.OpenAIEmbeddings) -> None:
    query = embeddings.embed_query("a ship in the harbour")
    near, far = embeddings.embed_documents(["a boat in the port", "the price of fresh bread"])

    assert math.dist(query, near) < math.dist(query, far)


def test_token_numbers_are_refused_with_the_setting_that_helps(served: Served) -> None:
    checking = langchain_openai.OpenAIEmbeddings(
        base_url=served.v1, api_key=SecretStr(served.key), model="text-embedding-3-small"
    )

    with pytest.raises(openai.BadRequestError) as caught:
        checking.client.create(model="text-embedding-3-small", input=[[15339, 1917]])

    assert "check_embedding_ctx_length=False" in str(caught.value)
