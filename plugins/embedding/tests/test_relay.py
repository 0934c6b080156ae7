"""From the engine's vectors to the client's reply and the bill."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.kit.apportion import apportion
from modgate.plugin import BadReply, Event, Json, Sample
from modgate.testing import Drive, Rig
from modgate_embedding import Embedding
from modgate_embedding.config import Config
from modgate_embedding.formats import packed, shortened

PATH = "/v1/embeddings"
Start = Callable[..., Drive]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def started(asked: dict[str, Json], **facts: Json) -> Drive:
        sample = Sample(path=PATH, json={"model": "m", **asked}, facts=facts)
        with Rig(Embedding(Config()), tmp_path) as rig:
            drive = rig.drive(rig.plan(sample))
        drive.draw()
        return drive

    return started


def engine(*vectors: Json, **usage: Json) -> Event:
    rows = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return Event(orjson.dumps({"data": rows, **({"usage": usage} if usage else {})}))


def ended(drive: Drive) -> Json:
    drive.end()
    return orjson.loads(drive.close())


def test_the_engines_own_digits_reach_the_client(start: Start) -> None:
    drive = start({"input": "fox"})
    drive.feed(Event(b'{"data":[{"index":0,"embedding":[1.10, 2e-7,-0]}]}'))
    drive.end()

    assert b'"embedding":[1.10, 2e-7,-0]' in drive.close()


def test_base64_is_packed_little_endian_float32(start: Start) -> None:
    drive = start({"input": "fox", "encoding_format": "base64"})
    drive.feed(engine([1.0, -0.5]))

    assert ended(drive)["data"][0]["embedding"] == "AACAPwAAAL8="


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_packed_vectors_are_the_same_floats(vector: list[float]) -> None:
    data = base64.b64decode(packed(vector))

    assert list(struct.unpack(f"<{len(vector)}f", data)) == vector


def test_a_number_beyond_float32_is_a_bad_reply(start: Start) -> None:
    drive = start({"input": "fox", "encoding_format": "base64"})

    with pytest.raises(BadReply, match="float32"):
        drive.feed(engine([1e300]))


def test_a_shortened_vector_has_length_one(start: Start) -> None:
    drive = start({"input": "fox", "dimensions": 2}, dimensions=4, matryoshka=True)
    drive.feed(engine([3.0, 4.0, 12.0, 84.0]))

    assert ended(drive)["data"][0]["embedding"] == [0.6, 0.8]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=9))
def test_shortening_keeps_the_direction_and_survives_zero(vector: list[float]) -> None:
    cut = shortened(vector, 2)
    norm = math.hypot(*cut)

    assert norm == pytest.approx(1.0) or vector[:2] == [0.0, 0.0]


def test_vectors_come_back_in_the_order_of_the_inputs(start: Start) -> None:
    drive = start({"input": ["a", "b", "c"]}, batch=2)
    rows = b'{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}'
    drive.feed(Event(rows))
    drive.end()
    drive.draw()
    drive.feed(engine([3]))

    reply = ended(drive)
    assert [(row["index"], row["embedding"]) for row in reply["data"]] == [
        (0, [1]),
        (1, [2]),
        (2, [3]),
    ]


def test_the_reply_names_the_model_as_it_was_asked_for(start: Start) -> None:
    drive = start({"input": "fox", "model": "an-alias"})
    drive.feed(engine([1.0], prompt_tokens=3))

    reply = ended(drive)
    assert reply["model"] == "an-alias"
    assert reply["id"] == "embd-" + "0" * 32
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


# The bill


def test_the_engine_counts_tokens_where_it_says_them(start: Start) -> None:
    drive = start({"input": "fox"})
    drive.feed(engine([1.0], prompt_tokens=7))
    drive.end()

    assert dict(drive.usage().units) == {"inputs": 1, "input_tokens": 7}
    assert (drive.usage().exact, drive.usage().by) == (True, "engine")


def test_a_total_will_do(start: Start) -> None:
    drive = start({"input": ["a", "b"]}, batch=1)
    drive.feed(engine([1.0], total_tokens=4))
    drive.end()
    drive.draw()
    drive.feed(engine([1.0], prompt_tokens=0, total_tokens=9))
    drive.end()

    assert dict(drive.usage().units) == {"inputs": 2, "input_tokens": 13}
    assert drive.usage().exact


def test_no_text_has_no_tokens_whatever_its_engine_says(start: Start) -> None:
    drive = start({"input": "ten bytes!"})
    drive.feed(engine([1.0], prompt_tokens=0, total_tokens=0))
    reply = ended(drive)

    assert reply["usage"] == {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}
    assert dict(drive.usage().units) == {"inputs": 1, "input_tokens": 4}
    assert (drive.usage().exact, drive.usage().by) == (False, "estimate")


def test_an_engine_that_counts_nothing_is_estimated_and_said_so(start: Start) -> None:
    drive = start({"input": "ten bytes!"})
    drive.feed(engine([1.0]))
    drive.end()

    assert dict(drive.usage().units) == {"inputs": 1, "input_tokens": 4}
    assert (drive.usage().exact, drive.usage().by) == (False, "estimate")


def test_one_silent_call_makes_the_whole_an_estimate(start: Start) -> None:
    drive = start({"input": ["a", "b"]}, batch=1)
    drive.feed(engine([1.0], prompt_tokens=5))
    drive.end()
    drive.draw()
    drive.feed(engine([1.0]))
    drive.end()

    assert dict(drive.usage().units) == {"inputs": 2, "input_tokens": 6}
    assert (drive.usage().exact, drive.usage().by) == (False, "estimate")


def test_what_was_cut_costs_the_calls_that_came(start: Start) -> None:
    drive = start({"input": ["a", "b"]}, batch=1)
    before = drive.usage()
    drive.feed(engine([1.0], prompt_tokens=5))
    drive.end()
    drive.draw()
    drive.end("failed")

    assert (dict(before.units), before.exact) == ({"inputs": 0, "input_tokens": 0}, False)
    assert dict(drive.usage().units) == {"inputs": 1, "input_tokens": 5}
    assert not drive.usage().exact


# A broken engine

BAD: Sequence[bytes] = (
    b"",
    b"<html>",
    b"null",
    b"{}",
    b'{"data":{}}',
    b'{"data":[]}',
    b'{"data":[{"index":0}]}',
    b'{"data":[{"index":1,"embedding":[1,2]}]}',
    b'{"data":[{"index":-1,"embedding":[1,2]}]}',
    b'{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[1,2]}]}',
    b'{"data":[{"index":0,"embedding":[1,2]},{"index":0,"embedding":[1,2]}]}',
    b'{"data":[{"index":0,"embedding":"AACAPwAAAL8="}]}',
    b'{"data":[{"index":0,"embedding":null}]}',
    b'{"data":[{"index":0,"embedding":[]}]}',
    b'{"data":[{"index":0,"embedding":[1,null]}]}',
    b'{"data":[{"index":0,"embedding":[1,"2"]}]}',
    b'{"data":[{"index":0,"embedding":[1,NaN]}]}',
    b'{"data":[{"index":0,"embedding":[1,1e999]}]}',
    b'{"data":[{"index":0,"embedding":[[1,2]]}]}',
    b'{"data":[{"index":0,"embedding":[1]}]}',
    b'{"data":[{"index":0,"embedding":[1,2,3]}]}',
    b'{"data":[{"index":0,"embedding":[1,2]}]',
)


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_what_is_no_reply_is_a_bad_reply_and_costs_nothing(start: Start, data: bytes) -> None:
    drive = start({"input": "fox"}, dimensions=2)

    with pytest.raises(BadReply):
        drive.feed(Event(data))
    assert dict(drive.usage().units) == {"inputs": 0, "input_tokens": 0}


@pytest.mark.parametrize(
    "usage",
    [b'{"prompt_tokens":-1}', b'{"prompt_tokens":"3"}', b'{"prompt_tokens":1%024d}' % 0, b"7"],
)
def test_an_engine_that_cannot_count_gave_no_count(start: Start, usage: bytes) -> None:
    drive = start({"input": "fox"}, dimensions=2)
    drive.feed(Event(b'{"data":[{"index":0,"embedding":[1,2]}],"usage":%b}' % usage))
    drive.end()

    assert dict(drive.usage().units) == {"inputs": 1, "input_tokens": 1}
    assert (drive.usage().exact, drive.usage().by) == (False, "estimate")


@pytest.mark.parametrize(
    "usage",
    [
        b'{"prompt_tokens":9.0}',
        b'{"prompt_tokens":9,"total_tokens":"9"}',
        b'{"prompt_tokens":-1,"total_tokens":9}',
        b'{"prompt_tokens":9,"by_input":[9,-1]}',
        b'{"prompt_tokens":9,"by_input":"9","apportioned":null}',
    ],
)
def test_a_member_that_is_no_count_does_not_take_the_others_away(
    start: Start, usage: bytes
) -> None:
    drive = start({"input": "fox"}, dimensions=2)
    drive.feed(Event(b'{"data":[{"index":0,"embedding":[1,2]}],"usage":%b}' % usage))
    drive.end()

    assert dict(drive.usage().units) == {"inputs": 1, "input_tokens": 9}
    assert (drive.usage().exact, drive.usage().by) == (True, "engine")


def test_vectors_of_different_lengths_are_a_bad_reply(start: Start) -> None:
    drive = start({"input": ["a", "b"]})

    with pytest.raises(BadReply, match="1 numbers, not 2"):
        drive.feed(engine([1, 2], [1]))


def test_a_second_reply_to_one_call_is_a_bad_reply(start: Start) -> None:
    drive = start({"input": "fox"})
    drive.feed(engine([1]))

    with pytest.raises(BadReply, match="twice"):
        drive.feed(engine([1]))


def test_nulls_and_extra_keys_of_an_engine_do_no_harm(start: Start) -> None:
    drive = start({"input": "fox"})
    said = {
        "id": "x",
        "data": [{"index": 0, "embedding": [1], "object": "embedding", "extra": 1}],
        "usage": {"prompt_tokens": None, "total_tokens": 3, "prompt_tokens_details": None},
    }
    drive.feed(Event(json.dumps(said).encode()))

    assert drive.usage().units["input_tokens"] == 3


# Shares of a total


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_shares_sum_to_the_total_and_nobody_with_work_pays_nothing(
    total: int, weights: list[int]
) -> None:
    shares = apportion(total, weights)

    assert sum(shares) == total
    assert min(shares) >= (1 if total >= len(weights) else 0)


def test_shares_are_by_weight_and_the_largest_remainder_gets_the_rest() -> None:
    assert apportion(10, [3, 3, 3]) == [4, 3, 3]
    assert apportion(9, [1, 2, 6]) == [1, 2, 6]
    assert apportion(3, [1, 1, 1000]) == [1, 1, 1]
