"""Reranking through the cohere SDK, in both of its versions."""

from __future__ import annotations

import cohere
import pytest

from clients.serving import Served

pytestmark = pytest.mark.models

MODEL = "rerank-v3.5"
QUERY = "How do I repair a flat bicycle tyre?"
DOCUMENTS = [
    "The museum opens at ten and is closed on Mondays.",
    "Mending a puncture: take the tube out of the wheel, find the hole and glue a patch on it.",
    "A flat in the city centre costs more than a house in the country.",
]


def test_results_are_ordered_by_a_score_from_0_to_1(ranker: cohere.ClientV2) -> None:
    reply = ranker.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    scores = [row.relevance_score for row in reply.results]

    assert sorted(row.index for row in reply.results) == [0, 1, 2]
    assert reply.results[0].index == 1
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert reply.id


def test_one_search_is_billed(ranker: cohere.ClientV2) -> None:
    reply = ranker.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)

    assert reply.meta
    assert reply.meta.api_version
    assert reply.meta.api_version.version == "2"
    assert reply.meta.billed_units
    assert reply.meta.billed_units.search_units == 1


def test_top_n_leaves_the_best(ranker: cohere.ClientV2) -> None:
    whole = ranker.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    best = ranker.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=1)

    assert best.results == whole.results[:1]


def test_the_first_version_gives_documents_back(served: Served) -> None:
    with cohere.Client(base_url=served.root, api_key=served.key, max_retries=0) as client:
        reply = client.rerank(
            model=MODEL, query=QUERY, documents=DOCUMENTS, return_documents=True, top_n=2
        )

    assert len(reply.results) == 2
    for row in reply.results:
        assert row.document
        assert row.document.text == DOCUMENTS[row.index]
    assert reply.meta
    assert reply.meta.api_version
    assert reply.meta.api_version.version == "1"


def test_no_documents_are_a_bad_request(ranker: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        ranker.rerank(model=MODEL, query=QUERY, documents=[])

    assert "documents" in caught.value.body["message"]
    assert caught.value.headers["x-request-id"].startswith("req_")


def test_an_unknown_model_is_not_found(ranker: cohere.ClientV2) -> None:
    with pytest.raises(cohere.NotFoundError) as caught:
        ranker.rerank(model="rerank-v9", query=QUERY, documents=DOCUMENTS)

    assert "e5-small-ranker" in caught.value.body["message"]


def test_a_wrong_key_is_unauthorized(served: Served) -> None:
    wrong = served.key[:-4] + "aaaa"

    with (
        cohere.ClientV2(base_url=served.root, api_key=wrong, max_retries=0) as client,
        pytest.raises(cohere.UnauthorizedError) as caught,
    ):
        client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)

    assert wrong not in str(caught.value.body)


async def test_the_async_client_ranks(served: Served) -> None:
    async with cohere.AsyncClientV2(
        base_url=served.root, api_key=served.key, max_retries=0
    ) as client:
        reply = await client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)

    assert reply.results[0].index == 1
