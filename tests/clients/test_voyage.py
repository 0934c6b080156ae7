"""Embeddings and reranking through the voyageai SDK."""

from __future__ import annotations

import math

import httpx
import pytest
from sdks import openai, voyageai, voyageai_error

from clients.serving import Served

pytestmark = pytest.mark.models

EMBED, RERANK = "voyage-3.5-lite", "rerank-2.5-lite"
DOCUMENTS = ["The train leaves at noon.", "Whisk eggs and flour into a smooth batter."]


@pytest.fixture
def voyage(served: Served) -> voyageai.Client:
    return voyageai.Client(api_key=served.key, base_url=served.v1, max_retries=1, timeout=60)


def test_texts_are_embedded_in_order(voyage: voyageai.Client, client: openai.OpenAI) -> None:
    found = voyage.embed(DOCUMENTS, model=EMBED)
    other = client.embeddings.create(model="text-embedding-3-small", input=DOCUMENTS)

    assert len(found.embeddings) == 2
    for mine, row in zip(found.embeddings, other.data, strict=True):
        assert mine == pytest.approx(row.embedding, abs=1e-6)
    assert found.total_tokens == other.usage.total_tokens > 0


def test_a_query_is_embedded_near_its_document(voyage: voyageai.Client) -> None:
    query = voyage.embed(["how to make pancakes"], model=EMBED, input_type="query")
    texts = voyage.embed(DOCUMENTS, model=EMBED, input_type="document")
    train, batter = (math.dist(query.embeddings[0], each) for each in texts.embeddings)

    assert batter < train


def test_documents_are_ranked_and_given_back(voyage: voyageai.Client) -> None:
    found = voyage.rerank("how to make pancakes", DOCUMENTS, model=RERANK)

    assert [row.index for row in found.results] == [1, 0]
    assert [row.document for row in found.results] == DOCUMENTS[::-1]
    assert found.results[0].relevance_score > found.results[1].relevance_score
    assert found.total_tokens > 0


def test_top_k_leaves_the_best(voyage: voyageai.Client) -> None:
    found = voyage.rerank("how to make pancakes", DOCUMENTS, model=RERANK, top_k=1)

    assert [row.index for row in found.results] == [1]


@pytest.mark.parametrize("model", ["rerank-2", "rerank-2-lite", "rerank-2.5"])
def test_voyages_own_rankers_are_served(voyage: voyageai.Client, model: str) -> None:
    found = voyage.rerank("how to make pancakes", DOCUMENTS, model=model)

    assert [row.index for row in found.results] == [1, 0]


def test_a_document_over_the_models_length_is_refused_without_truncation(
    voyage: voyageai.Client,
) -> None:
    with pytest.raises(voyageai_error.InvalidRequestError, match="maximum context length"):
        voyage.rerank("pancakes", ["word " * 3000], model=RERANK, truncation=False)


def test_a_document_is_cut_where_it_is_asked_for_whatever_truncation_says(
    served: Served,
) -> None:
    found = httpx.post(
        f"{served.v1}/rerank",
        json={
            "model": RERANK,
            "query": "pancakes",
            "documents": ["word " * 3000],
            "max_tokens_per_doc": 5,
            "truncation": False,
        },
        headers={"authorization": f"Bearer {served.key}"},
        timeout=60,
    )

    assert found.status_code == 200
    assert found.json()["usage"]["total_tokens"] < 20


def test_voyages_own_example_is_answered_as_voyage_does(served: Served) -> None:
    found = httpx.post(
        f"{served.v1}/rerank",
        json={"model": RERANK, "query": "how to make pancakes", "documents": DOCUMENTS},
        headers={"authorization": f"Bearer {served.key}"},
        timeout=60,
    ).json()

    assert [row["index"] for row in found["data"]] == [1, 0]
    assert set(found["usage"]) == {"total_tokens"}


def test_a_text_over_the_models_length_is_refused_without_truncation(
    voyage: voyageai.Client,
) -> None:
    with pytest.raises(
        voyageai_error.InvalidRequestError, match="maximum context length is 2048 tokens"
    ):
        voyage.embed(["word " * 3000], model=EMBED, truncation=False)


def test_an_empty_text_is_an_invalid_request(voyage: voyageai.Client) -> None:
    with pytest.raises(voyageai_error.InvalidRequestError) as caught:
        voyage.embed([""], model=EMBED)

    assert "input[0]" in str(caught.value)


def test_an_unknown_model_says_which_there_are(voyage: voyageai.Client) -> None:
    with pytest.raises(voyageai.error.VoyageError) as caught:
        voyage.rerank("fruit", DOCUMENTS, model="rerank-9")

    assert caught.value.http_status == 404
    assert "e5-small-ranker" in str(caught.value)


def test_a_wrong_key_is_an_authentication_error(served: Served) -> None:
    wrong = served.key[:-4] + "aaaa"
    client = voyageai.Client(api_key=wrong, base_url=served.v1, max_retries=1)

    with pytest.raises(voyageai_error.AuthenticationError):
        client.embed(["hello"], model=EMBED)


async def test_the_async_client_embeds(served: Served) -> None:
    client = voyageai.AsyncClient(api_key=served.key, base_url=served.v1, max_retries=1)
    found = await client.embed(["hello"], model=EMBED)

    assert math.hypot(*found.embeddings[0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
def test_vectors_come_in_the_type_that_was_asked_for(voyage: voyageai.Client, dtype: str) -> None:
    found = voyage.embed(DOCUMENTS, model=EMBED, output_dtype=dtype)
    bytes_each = 384 // 8 if dtype in ("binary", "ubinary") else 384
    lowest, highest = (0, 255) if dtype.startswith("u") else (-128, 127)

    assert [len(vector) for vector in found.embeddings] == [bytes_each] * 2
    assert all(lowest <= step <= highest for vector in found.embeddings for step in vector)
    assert all(isinstance(step, int) for step in found.embeddings[0])


def test_a_long_list_is_embedded_in_order(voyage: voyageai.Client) -> None:
    texts = [f"number {n}" for n in range(40)]
    together = voyage.embed(texts, model=EMBED)
    alone = [voyage.embed([text], model=EMBED).embeddings[0] for text in texts[::13]]

    for mine, other in zip(together.embeddings[::13], alone, strict=True):
        assert mine == pytest.approx(other, abs=2e-3)
