"""Chat, reranking and embedding through the cohere SDK, the last two in both of its versions."""

from __future__ import annotations

import base64
import json
import math
import struct

import httpx
import pytest
from sdks import cohere

from clients.serving import Served

pytestmark = pytest.mark.models

MODEL, EMBED = "rerank-v3.5", "text-embedding-3-small"
CHAT, EYES = "command-a-03-2025", "command-a-vision-07-2025"
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
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


def test_an_unknown_path_is_told_in_the_words_of_the_client(ranker: cohere.ClientV2) -> None:
    with pytest.raises(cohere.NotFoundError) as caught:
        ranker.tokenize(text="Hi", model=MODEL)

    assert "unknown request URL" in caught.value.body["message"]


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


def test_structured_documents_are_ranked_by_the_fields_that_are_named(served: Served) -> None:
    documents = [{"title": "Opening hours", "text": "x"}, {"title": DOCUMENTS[1], "text": "y"}]
    with cohere.Client(base_url=served.root, api_key=served.key, max_retries=0) as client:
        reply = client.rerank(
            model=MODEL, query=QUERY, documents=documents, rank_fields=["title"], top_n=1
        )

    assert [row.index for row in reply.results] == [1]


def test_a_document_that_is_cut_is_ranked_and_billed_by_what_is_left(
    ranker: cohere.ClientV2,
) -> None:
    filler = "The weather was fine and nothing else was written down that day. " * 40
    documents = [filler + DOCUMENTS[1], DOCUMENTS[2]]

    def ranked(most: int | None) -> tuple[dict[int, float], float]:
        reply = ranker.rerank(
            model=MODEL, query=QUERY, documents=documents, max_tokens_per_doc=most
        )
        assert reply.meta
        assert reply.meta.tokens
        assert reply.meta.tokens.input_tokens
        scores = {row.index: row.relevance_score for row in reply.results}
        return scores, reply.meta.tokens.input_tokens

    (whole, all_tokens), (cut, few_tokens) = ranked(None), ranked(50)

    assert all_tokens > 500
    assert few_tokens < 120
    assert cut[0] != pytest.approx(whole[0], abs=1e-6)
    assert cut[1] == pytest.approx(whole[1], abs=1e-6)


def test_top_k_is_no_field_of_coheres_second_version(served: Served) -> None:
    body = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_k": 1}
    reply = httpx.post(
        f"{served.root}/v2/rerank",
        json=body,
        headers={"authorization": f"Bearer {served.key}"},
        timeout=60,
    )

    assert len(reply.json()["results"]) == len(DOCUMENTS)


# --- embedding


@pytest.mark.parametrize("model", ["embed-v4.0", "embed-english-v3.0", "embed-multilingual-v3.0"])
def test_coheres_own_names_are_served(ranker: cohere.ClientV2, model: str) -> None:
    reply = ranker.embed(model=model, input_type="search_query", texts=["fox"])

    assert reply.embeddings.float_
    assert len(reply.embeddings.float_[0]) == 384


def test_a_query_and_a_document_are_read_differently(ranker: cohere.ClientV2) -> None:
    def embedded(kind: str) -> list[float]:
        reply = ranker.embed(model=EMBED, input_type=kind, texts=["fox"])
        assert reply.embeddings.float_
        return reply.embeddings.float_[0]

    assert embedded("search_query") != embedded("search_document")
    assert embedded("clustering") == embedded("search_document")


def test_a_text_over_the_models_length_is_cut_where_it_may_be(ranker: cohere.ClientV2) -> None:
    start, middle, end = "red foxes " * 4, "word " * 3000, "blue whales " * 4
    text = start + middle + end

    def embedded(truncate: str, text: str) -> tuple[list[float], float]:
        reply = ranker.embed(
            model=EMBED, input_type="clustering", texts=[text], truncate=truncate, max_tokens=30
        )
        assert reply.meta
        assert reply.meta.billed_units
        assert reply.meta.billed_units.input_tokens
        assert reply.embeddings.float_
        return reply.embeddings.float_[0], reply.meta.billed_units.input_tokens

    (first, first_tokens), (last, last_tokens) = embedded("END", text), embedded("START", text)

    assert max(first_tokens, last_tokens) <= 30 + 6  # and what the model puts around
    assert min(first_tokens, last_tokens) >= 30
    assert first == embedded("END", start + middle)[0]
    assert last == embedded("START", middle + end)[0]
    assert first != last


def test_a_text_over_the_models_length_is_refused_with_none(ranker: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        ranker.embed(model=EMBED, input_type="clustering", texts=["word " * 3000], truncate="NONE")

    assert "maximum context length is 2048 tokens" in caught.value.body["message"]
    assert "resulted in 3000 tokens" in caught.value.body["message"]


def test_each_form_is_the_same_vector(ranker: cohere.ClientV2) -> None:
    reply = ranker.embed(
        model=EMBED,
        input_type="search_document",
        texts=DOCUMENTS,
        embedding_types=["float", "int8", "uint8", "binary", "ubinary", "base64"],
    )
    forms = reply.embeddings

    assert reply.response_type == "embeddings_by_type"
    assert reply.texts == DOCUMENTS
    assert reply.meta
    assert reply.meta.billed_units
    assert reply.meta.billed_units.input_tokens
    assert forms.float_
    assert forms.int8
    assert forms.uint8
    assert forms.binary
    assert forms.ubinary
    assert forms.base64
    for at, vector in enumerate(forms.float_):
        assert len(vector) == 384
        packed = struct.unpack("<384f", base64.b64decode(forms.base64[at]))
        assert packed == pytest.approx(vector, abs=1e-6)
        small = forms.int8[at]
        same = sum(a * b for a, b in zip(vector, small, strict=True))
        assert same / math.hypot(*vector) / math.hypot(*small) > 0.99
        assert [step + 128 for step in small] == forms.uint8[at]
        assert [byte + 128 for byte in forms.binary[at]] == forms.ubinary[at]
        bits = "".join(f"{byte:08b}" for byte in forms.ubinary[at])
        assert bits == "".join("1" if number >= 0 else "0" for number in vector)


def test_mixed_inputs_of_text_are_embedded(ranker: cohere.ClientV2) -> None:
    inputs = [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS]
    mixed = ranker.embed(model=EMBED, input_type="clustering", inputs=inputs)
    plain = ranker.embed(model=EMBED, input_type="clustering", texts=DOCUMENTS)

    assert mixed.embeddings.float_ == plain.embeddings.float_


def test_a_picture_is_refused_by_name(ranker: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        ranker.embed(model=EMBED, input_type="image", images=["data:image/png;base64,AA"])

    assert "'images'" in caught.value.body["message"]


def test_the_first_version_embeds_as_the_second_does(
    served: Served, ranker: cohere.ClientV2
) -> None:
    """Langchain's `CohereEmbeddings` asks the first."""
    texts = ["a car", "a pear"]
    asked = {"model": EMBED, "texts": texts, "input_type": "search_document"}
    with cohere.Client(base_url=served.root, api_key=served.key) as older:
        plain = older.embed(**asked, batching=False)
        packed = older.embed(**asked, batching=False, embedding_types=["int8"])
    newer = ranker.embed(**asked, embedding_types=["float", "int8"])

    assert plain.response_type == "embeddings_floats"
    assert plain.texts == texts
    assert plain.meta
    assert plain.meta.billed_units == newer.meta.billed_units
    for mine, other in zip(plain.embeddings, newer.embeddings.float_, strict=True):
        assert mine == pytest.approx(other, abs=1e-6)
    assert packed.response_type == "embeddings_by_type"
    assert packed.embeddings.int8 == newer.embeddings.int8


def test_models_are_listed_by_what_they_are_for(ranker: cohere.ClientV2) -> None:
    listed = {model.name: model for model in ranker.models.list().models}
    embedding = [model.name for model in ranker.models.list(endpoint="embed").models]
    chatting = [model.name for model in ranker.models.list(endpoint="chat").models]
    found = ranker.models.get(MODEL)

    assert listed[MODEL].endpoints == found.endpoints == ["rerank"]
    assert found.name == MODEL
    assert EMBED in embedding
    assert MODEL not in embedding
    assert {CHAT, EYES} <= set(chatting)
    assert EMBED not in chatting
    with pytest.raises(cohere.NotFoundError) as caught:
        ranker.models.get("rerank-9")
    assert "rerank-9" in caught.value.body["message"]


def test_the_sdk_for_javascript_lists_models_too(served: Served) -> None:
    headers = {"X-Fern-SDK-Name": "cohere-ai", "Authorization": f"Bearer {served.key}"}
    page = httpx.get(f"{served.v1}/models", headers=headers, params={"endpoint": "rerank"}).json()

    assert MODEL in [model["name"] for model in page["models"]]


# --- chat


def test_a_chat_is_answered_with_text_and_usage(ranker: cohere.ClientV2) -> None:
    reply = ranker.chat(model=CHAT, messages=ASKED, max_tokens=12)
    usage = reply.usage

    assert reply.id
    assert reply.message.role == "assistant"
    assert reply.message.content[0].text
    assert reply.finish_reason in ("COMPLETE", "MAX_TOKENS")
    assert usage.billed_units == cohere.UsageBilledUnits(**usage.tokens.dict())
    assert 1 <= usage.tokens.output_tokens <= 12
    assert usage.tokens.input_tokens > 0


def test_a_stream_says_what_a_whole_reply_does(ranker: cohere.ClientV2) -> None:
    asked = {"model": CHAT, "messages": ASKED, "max_tokens": 12, "temperature": 0, "seed": 1}
    whole = ranker.chat(**asked)
    events = list(ranker.chat_stream(**asked))
    pieces = [e.delta.message.content.text for e in events if e.type == "content-delta"]

    assert "".join(pieces) == whole.message.content[0].text
    assert len(pieces) > 1
    assert [e.type for e in events if e.type != "content-delta"] == [
        "message-start",
        "content-start",
        "content-end",
        "message-end",
    ]
    assert events[-1].delta.finish_reason == whole.finish_reason
    assert events[-1].delta.usage.tokens == whole.usage.tokens


def test_the_stop_sequence_that_was_met_ends_a_chat(ranker: cohere.ClientV2) -> None:
    asked = {"model": CHAT, "messages": ASKED, "max_tokens": 12, "stop_sequences": ["zzz", "o"]}
    exact = {"temperature": 0, "seed": 1, "p": 0.9, "k": 5}
    reply = ranker.chat(**asked, **exact)
    *_, last = ranker.chat_stream(**asked, **exact)

    assert reply.finish_reason == last.delta.finish_reason == "STOP_SEQUENCE"
    assert "o" not in reply.message.content[0].text


def test_an_answer_is_json_of_the_schema_that_is_asked_for(ranker: cohere.ClientV2) -> None:
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 1, "maximum": 99}},
        "required": ["age"],
        "additionalProperties": False,
    }
    form = {"type": "json_object", "json_schema": schema}
    asked = [{"role": "user", "content": "How old is Ann? Answer in JSON."}]
    reply = ranker.chat(model=CHAT, messages=asked, response_format=form, max_tokens=40)

    assert 1 <= json.loads(reply.message.content[0].text)["age"] <= 99


def test_a_picture_is_described_and_a_model_without_eyes_says_which_has_some(
    ranker: cohere.ClientV2, picture_uri: str
) -> None:
    parts = [
        {"type": "text", "text": "What is written here?"},
        {"type": "image_url", "image_url": {"url": picture_uri, "detail": "auto"}},
    ]
    asked = [{"role": "user", "content": parts}]
    reply = ranker.chat(model=EYES, messages=asked)
    with pytest.raises(cohere.BadRequestError, match="takes no images") as caught:
        ranker.chat(model=CHAT, messages=asked)

    assert "4711" in reply.message.content[0].text
    assert "modgate-vision-composite" in caught.value.body["message"]


async def test_the_async_client_streams(served: Served) -> None:
    async with cohere.AsyncClientV2(
        base_url=served.root, api_key=served.key, max_retries=0
    ) as client:
        events = [e async for e in client.chat_stream(model=CHAT, messages=ASKED, max_tokens=4)]

    assert events[-1].delta.usage.billed_units.output_tokens <= 4


def test_a_forced_call_is_refused_where_the_model_calls_none(ranker: cohere.ClientV2) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with pytest.raises(cohere.BadRequestError) as caught:
        ranker.chat(model=CHAT, messages=ASKED, tools=[tool], tool_choice="REQUIRED")

    assert "cannot call tools" in caught.value.body["message"]
