"""Cohere's body: what is read of it, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from modgate.plugin import Event, Json, Plan, Refused, Sample
from modgate.testing import Rig
from modgate_embedding.config import Config
from modgate_embedding.modality import Embedding

PATH = "/v2/embed"
Shape = Callable[..., Plan]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
TEXT = {"type": "text", "text": "fox"}


@pytest.fixture
def shape(tmp_path: Path) -> Shape:
    def shaped(body: dict[str, Json], **facts: Json) -> Plan:
        sample = Sample(path=PATH, json={"model": "m", **body}, facts=facts)
        with Rig(Embedding(Config()), tmp_path) as rig:
            return rig.plan(sample)

    return shaped


def sent(plan: Plan) -> list[Json]:
    assert isinstance(plan.calls, list)
    return [orjson.loads(bytes(call.body.content)) for call in plan.calls]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, {"truncation": True}),
        ({"truncate": "END"}, {"truncation": True}),
        ({"truncate": "START"}, {"truncation": True, "truncation_side": "left"}),
        ({"truncate": "NONE"}, {"truncation": False}),
        ({"max_tokens": 9}, {"truncation": True, "max_tokens": 9}),
        ({"output_dimension": 2}, {"truncation": True, "dimensions": 2}),
        ({"priority": 3, "unheard_of": 1}, {"truncation": True}),
    ],
)
def test_what_the_engine_is_told(shape: Shape, more: Json, said: Json) -> None:
    plan = shape({"texts": ["fox"], "input_type": "clustering", **more})

    assert sent(plan) == [{"model": "m", "input": ["fox"], "input_type": "clustering", **said}]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("search_query", "q: fox"), ("search_document", "d: fox"), ("classification", "fox")],
)
def test_an_input_type_is_a_prefix_where_the_model_has_one(
    shape: Shape, kind: str, text: str
) -> None:
    prefixes = {"query": "q: ", "document": "d: "}
    plan = shape({"texts": ["fox"], "input_type": kind}, prefixes=prefixes)

    assert [each["input"] for each in sent(plan)] == [[text]]


def test_more_texts_than_the_engine_takes_go_out_in_several_calls(shape: Shape) -> None:
    plan = shape({"texts": ["a", "b", "c"], "input_type": "clustering"}, batch=2)

    assert [each["input"] for each in sent(plan)] == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "texts", "missing_required_parameter"),
        ({"texts": []}, "texts", "invalid_value"),
        ({"texts": ["a"] * 97}, "texts", "array_above_max_length"),
        ({"texts": ["a", ""]}, "texts[1]", "invalid_value"),
        ({"texts": ["a"], "inputs": []}, "inputs", "invalid_value"),
        ({"images": ["data:"]}, "images", "unsupported_input"),
        (
            {"inputs": [{"content": [TEXT]}, {"content": [TEXT, IMAGE]}]},
            "inputs[1].content[1].image_url",
            "unsupported_input",
        ),
        ({"inputs": [{"content": []}]}, "inputs[0].content", "invalid_value"),
        ({"texts": ["a"], "input_type": "image"}, "input_type", "unsupported_input"),
        ({"texts": ["a"], "input_type": "other"}, "input_type", "invalid_value"),
        ({"texts": ["a"], "input_type": None}, "input_type", "missing_required_parameter"),
        ({"texts": ["a"], "truncate": "MIDDLE"}, "truncate", "invalid_value"),
        ({"texts": ["a"], "max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"texts": ["a"], "embedding_types": []}, "embedding_types", "invalid_value"),
        ({"texts": ["a"], "embedding_types": ["f"]}, "embedding_types[0]", "invalid_value"),
        (
            {"texts": ["a"], "embedding_types": ["float", "binary"], "output_dimension": 12},
            "embedding_types[1]",
            "invalid_value",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    shape: Shape, body: dict[str, Json], field: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        shape({"input_type": "clustering", **body})

    assert (refused.value.field, refused.value.code) == (field, code)


def test_the_first_version_wants_no_input_type_and_tells_forms_that_were_asked_for(
    tmp_path: Path,
) -> None:
    body = {"model": "m", "texts": ["fox"], "embedding_types": ["float"]}
    vector = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 2}}
    sample = Sample(path="/v1/embed", json=body, facts={"prefixes": {"document": "d: "}})
    with Rig(Embedding(Config()), tmp_path) as rig:
        plan = rig.plan(sample)
        drive = rig.drive(plan)
    drive.draw()
    drive.feed(Event(orjson.dumps(vector)))
    drive.end()
    reply = orjson.loads(drive.close())

    assert sent(plan) == [{"model": "m", "input": ["fox"], "truncation": True}]
    assert (reply["response_type"], reply["embeddings"]) == ("embeddings_by_type", {"float": [[1]]})
    assert reply["meta"]["api_version"] == {"version": "1"}
