"""Calls of several requests in one trip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from modgate.plugin import BadReply, Body, Call, Event, Json, Plan, Refused, Sample
from modgate.testing import Rig
from modgate_embedding import Embedding
from modgate_embedding.batching import batching, key, merge, split
from modgate_embedding.config import Config

PATH = "/v1/embeddings"
Calls = Callable[..., list[Call]]


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    def made(*bodies: dict[str, Json], **facts: Json) -> list[Call]:
        found: list[Call] = []
        for body in bodies:
            sample = Sample(path=PATH, json={"model": "m", **body}, facts=facts)
            with Rig(Embedding(Config()), tmp_path) as rig:
                plan: Plan = rig.plan(sample)
            assert isinstance(plan.calls, list)
            found += plan.calls
        return found

    return made


def trip(count: int, **usage: Json) -> Event:
    rows = [{"index": index, "embedding": [index]} for index in range(count)]
    return Event(orjson.dumps({"data": rows, "usage": usage}))


def test_calls_that_ask_the_same_of_an_engine_may_share(calls: Calls) -> None:
    first, second = calls(
        {"input": "a", "user": "u-1", "truncation": True, "dimensions": 8},
        {"dimensions": 8, "input": ["b", "c"], "model": "alias", "truncation": True},
    )

    assert key(first) == key(second)


@pytest.mark.parametrize("more", [{"dimensions": 8}, {"truncation": True}, {"task": "x"}])
def test_calls_that_ask_for_something_else_may_not(calls: Calls, more: dict[str, Json]) -> None:
    first, second = calls({"input": "a"}, {"input": "b", **more})

    assert key(first) != key(second)


def test_text_and_token_numbers_may_not_share(calls: Calls) -> None:
    first, second = calls({"input": "a"}, {"input": [1]}, token_ids="native")

    assert key(first) != key(second)


def test_a_call_of_another_make_never_shares() -> None:
    assert key(Call(path=PATH, body=Body.of(input=["a"]))) is None


def test_a_merged_call_holds_all_inputs_in_order_and_nobodys_user(calls: Calls) -> None:
    merged = merge(calls({"input": ["a", "b,]"], "user": "u"}, {"input": "\u72d0"}))

    sent = orjson.loads(bytes(merged.body.content))
    assert sent == {"model": "m", "input": ["a", "b,]", "\u72d0"]}
    assert dict(merged.size) == {"inputs": 3, "input_tokens": 3}


def test_each_call_gets_its_own_vectors_from_index_0(calls: Calls) -> None:
    members = calls({"input": ["a", "b"]}, {"input": "c"}, {"input": ["d", "e"]})
    shares = [orjson.loads(share.data)["data"] for share in split(members, trip(5))]

    assert [[row["index"] for row in share] for share in shares] == [[0, 1], [0], [0, 1]]
    assert [[row["embedding"] for row in share] for share in shares] == [
        [[0], [1]],
        [[2]],
        [[3], [4]],
    ]


def test_tokens_by_input_make_a_shared_call_cost_what_it_costs_alone(calls: Calls) -> None:
    members = calls({"input": ["a", "b"]}, {"input": "c"})
    said = trip(3, prompt_tokens=12, by_input=[5, 4, 3])

    usages = [orjson.loads(share.data)["usage"] for share in split(members, said)]
    assert usages == [{"prompt_tokens": 9}, {"prompt_tokens": 3}]


@pytest.mark.parametrize(
    "by_input", [None, [5, 4], [5, 8], [5, 4, 9], [5, 9, -1], [5, 8, None], "5, 8"]
)
def test_a_total_is_shared_out_by_estimate_and_said_to_be(calls: Calls, by_input: Json) -> None:
    members = calls({"input": ["a" * 9, "b" * 9]}, {"input": "c" * 9})
    said = trip(3, prompt_tokens=13, by_input=by_input)

    usages = [orjson.loads(share.data)["usage"] for share in split(members, said)]
    assert usages == [
        {"prompt_tokens": 9, "apportioned": True},
        {"prompt_tokens": 4, "apportioned": True},
    ]


def test_estimates_that_happen_to_sum_to_the_total_are_estimates(calls: Calls) -> None:
    members = calls({"input": ["a" * 9, "b" * 9]}, {"input": "c" * 9})

    usages = [orjson.loads(each.data)["usage"] for each in split(members, trip(3, prompt_tokens=9))]
    assert [usage["apportioned"] for usage in usages] == [True, True]


def test_an_apportioned_bill_is_an_estimate(tmp_path: Path) -> None:
    sample = Sample(path=PATH, json={"model": "m", "input": "a"})
    with Rig(Embedding(Config()), tmp_path) as rig:
        drive = rig.drive(rig.plan(sample))
    call = drive.draw()
    assert call is not None
    drive.feed(split([call, call], trip(2, prompt_tokens=9))[0])
    drive.end()

    assert drive.usage().units["input_tokens"] == 5
    assert (drive.usage().exact, drive.usage().by) == (False, "estimate")


def test_an_engine_that_counts_nothing_leaves_each_to_its_estimate(calls: Calls) -> None:
    members = calls({"input": "a"}, {"input": "b"})

    without = Event(orjson.dumps({"data": orjson.loads(trip(2).data)["data"]}))
    for said in trip(2), without:
        assert [orjson.loads(s.data)["usage"] for s in split(members, said)] == [None, None]


def test_too_few_vectors_for_all_are_a_bad_reply(calls: Calls) -> None:
    with pytest.raises(BadReply):
        split(calls({"input": "a"}, {"input": "b"}), trip(1))


def test_a_trip_holds_what_the_smallest_engine_takes(calls: Calls) -> None:
    batch = batching(Config(trip_items=32))
    [roomy] = calls({"input": ["a", "b"]})
    [tight] = calls({"input": ["a", "b"]}, batch=4)

    assert batch.most == 32
    assert (batch.count(roomy), batch.count(tight)) == (2, 16)


def test_long_texts_fill_a_trip_sooner(calls: Calls) -> None:
    batch = batching(Config(trip_items=32, trip_tokens=1000))
    [long] = calls({"input": "x" * 1500})

    assert batch.count(long) == 16


def test_inputs_that_depend_on_each_other_are_neither_split_nor_shared(calls: Calls) -> None:
    [call] = calls({"input": ["a", "b"], "late_chunking": True})

    assert key(call) is None
    with pytest.raises(Refused) as refused:
        calls({"input": ["a", "b", "c"], "late_chunking": True}, batch=2)
    assert refused.value.field == "input"
