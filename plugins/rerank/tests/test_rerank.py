"""What is read of the four bodies, and what their replies say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.kit.tokens import estimate
from modgate.plugin import BadReply, Call, Event, Json, Refused, Sample
from modgate.testing import Drive, Rig
from modgate_rerank.ask import cut
from modgate_rerank.batching import is_shared, key, merge, split
from modgate_rerank.config import Config
from modgate_rerank.dialects import listed
from modgate_rerank.modality import Rerank
from modgate_rerank.relay import sigmoid

Start = Callable[..., Drive]
V1, V2 = "/v1/rerank", "/v2/rerank"


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def started(body: dict[str, Json], path: str = V1, **facts: Json) -> Drive:
        sample = Sample(path=path, json={"model": "m", "query": "q", **body}, facts=facts)
        with Rig(Rerank(Config()), tmp_path) as rig:
            return rig.drive(rig.plan(sample))

    return started


def calls(drive: Drive) -> list[Call]:
    found = []
    while (call := drive.draw()) is not None:
        found.append(call)
    return found


def sent(drive: Drive) -> list[Json]:
    return [orjson.loads(bytes(call.body.content)) for call in calls(drive)]


def scored(*scores: float, **more: Json) -> Event:
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
    return Event(orjson.dumps({"results": rows, **more}))


def whole(drive: Drive, *events: Event) -> Json:
    for event in events:
        drive.draw()
        drive.feed(event)
        drive.end()
    return orjson.loads(drive.close())


# --- bodies


@pytest.mark.parametrize(
    ("documents", "more", "texts"),
    [
        (["a", "b"], {}, ["a", "b"]),
        ([{"text": "a"}, "b"], {}, ["a", "b"]),
        ([{"text": "a", "image": "x"}], {}, ["a"]),
        ([{"title": "t", "text": "a", "n": 3}], {"rank_fields": ["n", "title"]}, ["3\nt"]),
        ([{"title": None, "text": "a"}], {"rank_fields": ["title", "text"]}, ["a"]),
    ],
)
def test_documents_are_texts_or_hold_one(
    start: Start, documents: Json, more: dict[str, Json], texts: list[str]
) -> None:
    assert sent(start({"documents": documents, **more})) == [{"query": "q", "documents": texts}]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "documents", "missing_required_parameter"),
        ({"documents": []}, "documents", "invalid_value"),
        ({"documents": ["a"] * 1001}, "documents", "array_above_max_length"),
        ({"documents": ["a", 5]}, "documents[1]", "invalid_type"),
        ({"documents": [""]}, "documents[0]", "invalid_value"),
        ({"documents": [{"image": "x"}]}, "documents[0].image", "unsupported_input"),
        ({"documents": [{"title": "x"}]}, "documents[0]", "invalid_type"),
        ({"documents": ["a"], "query": ""}, "query", "invalid_value"),
        ({"documents": ["a"], "query": {"image": "x"}}, "query.image", "unsupported_input"),
        (
            {"documents": ["a"], "query": {"text": "q", "image": "x"}},
            "query.image",
            "unsupported_input",
        ),
        ({"documents": ["a", "b" * 400_001]}, "documents[1]", "string_above_max_length"),
        ({"documents": ["a"], "query": "q" * 400_001}, "query", "string_above_max_length"),
        ({"documents": ["a"], "top_n": 0}, "top_n", "integer_below_min_value"),
        ({"documents": ["a"], "truncation": True, "top_k": 0}, "top_k", "integer_below_min_value"),
        ({"documents": ["a"], "max_tokens_per_doc": 0}, "max_tokens_per_doc", None),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    start: Start, body: dict[str, Json], field: str, code: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        start(body)

    assert refused.value.field == field
    assert code in (None, refused.value.code)


def test_jinas_query_may_be_an_object(start: Start) -> None:
    assert sent(start({"documents": ["a"], "query": {"text": "who"}}))[0]["query"] == "who"


@pytest.mark.parametrize(
    ("body", "facts", "said"),
    [
        ({"max_tokens_per_doc": 9}, {}, {"max_tokens_per_doc": 9}),
        ({}, {"max_tokens_per_doc": 7}, {"max_tokens_per_doc": 7}),
        ({"truncation": False}, {}, {"truncation": False}),
        ({"truncation": True}, {}, {}),
        ({"max_chunks_per_doc": 3, "priority": 1, "relevant_spans": True}, {}, {}),
    ],
)
def test_what_the_engine_is_told(start: Start, body: Json, facts: Json, said: Json) -> None:
    found = sent(start({"documents": ["a"], **body}, **facts))

    assert found == [{"query": "q", "documents": ["a"], **said}]


@given(st.text(), st.integers(1, 9))
@settings(derandomize=True, deadline=None)
def test_a_text_that_is_cut_has_at_most_so_many_tokens(text: str, most: int) -> None:
    found = cut(text, most)

    assert text.startswith(found)
    assert estimate(found) <= most
    assert found == text or estimate(text[: len(found) + 1]) > most


@pytest.mark.parametrize(
    ("documents", "units"),
    [
        (["x"] * 100, 1),
        (["x"] * 101, 2),
        (["x" * 3 * 500] * 100, 1),  # 500 tokens each, by three bytes a token
        (["x" * 3 * 501, *["x"] * 98], 1),  # the long one counts twice
        (["x" * 3 * 501, *["x"] * 99], 2),
    ],
)
def test_a_search_is_billed_by_hundreds_of_documents_of_up_to_500_tokens(
    start: Start, documents: list[str], units: int
) -> None:
    drive = start({"documents": documents}, V2)
    reply = whole(drive, scored(*[0.5] * len(documents)))

    assert reply["meta"]["billed_units"] == {"search_units": units}
    assert drive.usage().units["search_units"] == units


@pytest.mark.parametrize(
    ("tokens", "cut_at", "read_at", "units"),
    [
        (5000, None, None, 10),
        (5000, 500, None, 1),
        (5000, None, 1000, 2),
        (5000, 500, 1000, 1),
        (5000, 3000, 1000, 2),
        (3, 3000, 5000, 1),
    ],
)
def test_a_document_that_is_cut_is_billed_as_it_is_read(
    start: Start, tokens: int, cut_at: int | None, read_at: int | None, units: int
) -> None:
    body = {"documents": ["x" * 3 * tokens] * 99}
    if cut_at is not None:
        body["max_tokens_per_doc"] = cut_at
    drive = start(body, V2, **({} if read_at is None else {"max_tokens": read_at}))

    reply = whole(drive, scored(*[0.5] * 99))
    assert reply["meta"]["billed_units"] == {"search_units": units}


def test_where_the_engine_ceases_to_read_is_for_the_bill_only(start: Start) -> None:
    body = {"documents": ["a"], "max_tokens_per_doc": 3000}

    assert sent(start(body, max_tokens=2048))[0]["max_tokens_per_doc"] == 3000
    assert "max_tokens_per_doc" not in sent(start({"documents": ["a"]}, max_tokens=2048))[0]


@pytest.mark.parametrize(
    ("path", "body", "rows"),
    [
        (V2, {"top_k": 1}, 2),  # no field of cohere's: passed over, as every unknown one
        (V1, {"truncation": True, "top_n": 1}, 1),
        (V1, {"top_k": 1, "top_n": 2}, 1),
    ],
)
def test_how_many_are_wanted_in_the_words_of_each(
    start: Start, path: str, body: dict[str, Json], rows: int
) -> None:
    reply = whole(start({"documents": ["a", "b"], **body}, path), scored(0.1, 0.9))

    assert len(reply.get("results") or reply["data"]) == rows


# --- slices


def test_the_best_are_cut_after_all_slices_came(start: Start) -> None:
    drive = start({"documents": ["a", "b", "c", "d", "e"], "top_n": 3}, batch=2)
    reply = whole(drive, scored(0.1, 0.9), scored(0.9, 0.2), scored(0.95))

    ranks = [(row["index"], row["relevance_score"]) for row in reply["results"]]
    assert ranks == [(4, 0.95), (1, 0.9), (2, 0.9)]


def test_a_model_that_compares_documents_is_never_split(start: Start) -> None:
    drive = start({"documents": ["a"] * 300}, listwise=True, pairs=True)
    [call] = calls(drive)

    assert len(orjson.loads(bytes(call.body.content))["documents"]) == 300
    assert key(call) is None
    with pytest.raises(Refused) as refused:
        start({"documents": ["a"] * 30}, listwise=True, batch=29)
    assert refused.value.field == "documents"


# --- scores


@pytest.mark.parametrize(
    ("logit", "score"),
    [(0.0, 0.5), (1e9, 1.0), (-1e9, 0.0), (710.0, 1.0), (-745.0, 0.0), (2.0, 0.8807970779778823)],
)
def test_the_sigmoid_is_stable(logit: float, score: float) -> None:
    assert sigmoid(logit) == pytest.approx(score, abs=1e-12)
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1.0)


@pytest.mark.parametrize(("facts", "said"), [({"logits": True}, {}), ({}, {"logits": True})])
def test_logits_become_probabilities_once(start: Start, facts: Json, said: Json) -> None:
    drive = start({"documents": ["a", "b"]}, **facts)
    reply = whole(drive, scored(-3.0, 0.5, **said, **({"logits": True} if facts else {})))

    found = {row["index"]: row["relevance_score"] for row in reply["results"]}
    assert found == {1: pytest.approx(1 / (1 + math.exp(-0.5))), 0: pytest.approx(0.04742587)}


def test_scores_that_are_no_probabilities_are_not_passed_off_as_some(start: Start) -> None:
    with pytest.raises(BadReply, match="logits"):
        whole(start({"documents": ["a", "b"]}), scored(0.5, 3.0))


def test_a_last_digit_beyond_one_is_cut(start: Start) -> None:
    reply = whole(start({"documents": ["a", "b"]}), scored(1.0000001, -1e-7))

    assert [row["relevance_score"] for row in reply["results"]] == [1.0, 0.0]


# --- replies


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_document_comes_back_however_deep_it_is(start: Start) -> None:
    given = {"text": "a", "deep": nested(61)}  # with what is around it, as deep as can be sent
    reply = whole(start({"documents": [given], "return_documents": True}), scored(0.9))

    assert reply["results"][0]["document"] == given


def test_what_an_engine_repeats_of_a_document_is_passed_over_however_deep_it_is() -> None:
    row = b'{"index":0,"score":0.5,"document":%b}' % (b"[" * 300 + b"]" * 300)
    [read] = listed(Event(b"[%b]" % row))

    assert (read.integer("index"), read.number("score")) == (0, 0.5)


def test_documents_come_back_as_they_were_given(start: Start) -> None:
    given: list[Json] = ["a", {"text": "b", "page": 2}]
    reply = whole(start({"documents": given, "return_documents": True}), scored(0.9, 0.8))

    assert [row["document"] for row in reply["results"]] == [{"text": "a"}, given[1]]


def test_cohere_v2_never_gives_documents_back(start: Start) -> None:
    reply = whole(start({"documents": ["a"], "return_documents": True}, V2), scored(0.9))

    assert "document" not in reply["results"][0]
    assert set(reply) == {"id", "results", "meta"}


def test_voyage_gets_its_own_words(start: Start) -> None:
    body = {"documents": ["a", "b"], "top_k": 1, "truncation": True, "return_documents": True}
    reply = whole(start(body), scored(0.1, 0.9, usage={"total_tokens": 8}))

    assert reply == {
        "object": "list",
        "data": [{"index": 1, "relevance_score": 0.9, "document": "b"}],
        "model": "m",
        "usage": {"total_tokens": 8},
    }


def test_v1_has_the_words_of_cohere_and_of_jina(start: Start) -> None:
    reply = whole(start({"documents": ["a"]}), scored(0.9, usage={"total_tokens": 8}))

    assert reply["model"] == "m"
    assert reply["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert reply["meta"]["tokens"] == {"input_tokens": 8}
    assert reply["meta"]["api_version"] == {"version": "1"}


@pytest.mark.parametrize(
    "said",
    [
        {"usage": {"total_tokens": -9}},
        {"usage": {"total_tokens": 10**18}},
        {"usage": {"total_tokens": 0}},
        {"usage": []},
        {"meta": {"tokens": {"input_tokens": "5"}}},
    ],
)
def test_an_engine_that_cannot_count_gave_no_count(start: Start, said: dict[str, Json]) -> None:
    drive = start({"documents": ["a", "b"]})
    drive.draw()
    drive.feed(scored(0.1, 0.9, **said))
    drive.end()
    usage = drive.usage()

    assert dict(usage.units) == {"documents": 2, "input_tokens": 4, "search_units": 1}
    assert (usage.exact, usage.by) == (False, "estimate")


# --- shared trips


def pairs(start: Start, *documents: Sequence[str]) -> list[Call]:
    return [call for each in documents for call in calls(start({"documents": each}, pairs=True))]


def test_searches_share_pairs_and_get_their_own_scores(start: Start) -> None:
    searches = pairs(start, ["a", "b"], ["ccc"])
    merged = merge(searches)
    usage = {"total_tokens": 10}
    said = Event(orjson.dumps({"scores": [0.1, 0.2, 0.3], "usage": usage}))
    shares = [orjson.loads(share.data) for share in split(searches, said)]

    assert key(searches[0]) == key(searches[1])
    assert is_shared(merged)
    assert not is_shared(searches[0])
    body = orjson.loads(bytes(merged.body.content))
    assert body == {"queries": ["q", "q", "q"], "documents": ["a", "b", "ccc"]}
    assert [[row["relevance_score"] for row in share["results"]] for share in shares] == [
        [0.1, 0.2],
        [0.3],
    ]
    assert sum(share["usage"]["total_tokens"] for share in shares) == 10


def test_pairs_that_an_engine_does_not_count_are_estimated(start: Start) -> None:
    said = Event(orjson.dumps({"scores": [0.1, 0.2], "usage": {"total_tokens": 0}}))
    shares = [orjson.loads(share.data) for share in split(pairs(start, ["a"], ["b"]), said)]

    assert ["usage" in share for share in shares] == [False, False]


def test_an_apportioned_bill_is_an_estimate(start: Start) -> None:
    drive = start({"documents": ["a"]}, pairs=True)
    drive.draw()
    drive.feed(scored(0.5, usage={"total_tokens": 4, "apportioned": True}))
    drive.end()

    assert (drive.usage().exact, drive.usage().by) == (False, "estimate")


def test_only_searches_whose_engines_take_pairs_share(start: Start) -> None:
    [plain] = calls(start({"documents": ["a"]}))
    [bounded] = calls(start({"documents": ["a"], "max_tokens_per_doc": 5}, pairs=True))

    assert key(plain) is None
    assert key(bounded) is None


def test_too_few_scores_for_all_are_a_bad_reply(start: Start) -> None:
    with pytest.raises(BadReply):
        split(pairs(start, ["a"], ["b"]), Event(b'{"scores":[0.5]}'))
