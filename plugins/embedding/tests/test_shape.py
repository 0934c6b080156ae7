"""How a body becomes calls: what is read, what is refused, and what goes on to the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError

from modgate.plugin import Body, Call, Json, Plan, Refused, Sample
from modgate.testing import Rig
from modgate_embedding import Embedding
from modgate_embedding.config import Config, Facts

PATH = "/v1/embeddings"
Shape = Callable[..., Plan]


@pytest.fixture
def shape(tmp_path: Path) -> Shape:
    def shaped(body: dict[str, Json], config: Config | None = None, **facts: Json) -> Plan:
        sample = Sample(path=PATH, json={"model": "m", **body}, facts=facts)
        with Rig(Embedding(config or Config()), tmp_path) as rig:
            return rig.plan(sample)

    return shaped


def sent(plan: Plan) -> list[dict[str, Json]]:
    assert isinstance(plan.calls, list)
    return [orjson.loads(bytes(call.body.content)) for call in plan.calls]


def test_a_single_text_is_sent_as_a_list_of_one(shape: Shape) -> None:
    assert sent(shape({"input": "fox"})) == [{"model": "m", "input": ["fox"]}]


def test_unknown_fields_go_on_and_what_is_null_does_not(shape: Shape) -> None:
    body = {"input": "fox", "task": "retrieval", "user": None, "dimensions": None, "late": None}

    assert sent(shape(body)) == [{"model": "m", "task": "retrieval", "input": ["fox"]}]


def test_what_the_gateway_does_itself_is_not_asked_of_the_engine(shape: Shape) -> None:
    body = {"input": "fox", "encoding_format": "base64", "output_dtype": "float"}

    assert sent(shape(body)) == [{"model": "m", "input": ["fox"]}]


def test_a_number_beyond_64_bits_goes_on_as_it_came(tmp_path: Path) -> None:
    raw = b'{"model":"m","input":"fox","seed":123456789012345678901234567890}'
    with Rig(Embedding(Config()), tmp_path) as rig:
        request = rig.request(Sample(path=PATH, json={}), Body.json(raw))
        plan = rig.shape(request, rig.answers(Sample(path=PATH)))

    assert isinstance(plan.calls, list)
    assert b'"seed":123456789012345678901234567890' in plan.calls[0].body.content


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": ["fox", ""]}, "input[1]", "invalid_value"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": {"text": "fox"}}, "input", "invalid_type"),
        ({"input": ["fox", 5]}, "input[1]", "invalid_type"),
        ({"input": ["fox", None]}, "input[1]", "invalid_type"),
        ({"input": [True]}, "input[0]", "invalid_type"),
        ({"input": ["fox"] * 2049}, "input", "array_above_max_length"),
        ({"input": "x" * 400_001}, "input", "string_above_max_length"),
        ({"input": "fox", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"input": "fox", "encoding_format": 7}, "encoding_format", "invalid_value"),
        ({"input": "fox", "dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"input": "fox", "dimensions": "2"}, "dimensions", "invalid_type"),
        ({"input": "fox", "output_dimension": -1}, "output_dimension", "integer_below_min_value"),
        (
            {"input": "fox", "dimensions": 2, "output_dimension": 3},
            "output_dimension",
            "invalid_value",
        ),
        ({"input": "fox", "output_dtype": "int4"}, "output_dtype", "invalid_value"),
        ({"input": "fox", "embedding_type": "int4"}, "embedding_type", "invalid_value"),
        ({"input": [{"image": "data:"}]}, "input[0].image", "unsupported_input"),
        ({"input": [{}]}, "input[0]", "unsupported_input"),
        ({"input": "a", "truncation": "yes"}, "truncation", "invalid_type"),
        ({"input": "a", "max_tokens": "a"}, "max_tokens", "invalid_type"),
        ({"input": "a", "max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"input": "a", "truncation_side": 5}, "truncation_side", "invalid_value"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    shape: Shape, body: dict[str, Json], field: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        shape(body)

    assert (refused.value.field, refused.value.code) == (field, code)


# Token numbers


def test_token_numbers_are_refused_where_the_model_is_not_flagged(shape: Shape) -> None:
    with pytest.raises(Refused, match="check_embedding_ctx_length=False") as refused:
        shape({"input": [[1, 2]]})

    assert (refused.value.field, refused.value.code) == ("input", "unsupported_input")


@pytest.mark.parametrize(
    ("given", "lists"), [([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]]), ([0], [[0]])]
)
def test_native_token_numbers_go_on_and_are_counted(
    shape: Shape, given: list[Json], lists: list[list[int]]
) -> None:
    plan = shape({"input": given}, token_ids="native")

    assert sent(plan) == [{"model": "m", "input": lists}]
    assert isinstance(plan.calls, list)
    assert dict(plan.calls[0].size) == {"inputs": len(lists), "input_tokens": sum(map(len, lists))}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([1, "a"], "input[1]"),
        ([1, 2.5], "input[1]"),
        ([1, True], "input[1]"),
        ([-1], "input[0]"),
        ([2**31], "input[0]"),
        ([[1], [2, "a"]], "input[1][1]"),
        ([[1], "a"], "input[1]"),
        ([[1], []], "input[1]"),
        ([[]], "input[0]"),
    ],
)
def test_what_are_no_token_numbers_is_refused_by_place(
    shape: Shape, given: list[Json], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        shape({"input": given}, token_ids="native")

    assert refused.value.field == field


def test_more_token_numbers_than_the_model_takes_are_the_context_error(shape: Shape) -> None:
    with pytest.raises(Refused, match="maximum context length is 2 tokens") as refused:
        shape({"input": [[1, 2], [1, 2, 3]]}, token_ids="native", max_tokens=2)

    assert (refused.value.field, refused.value.code) == ("input", "context_length_exceeded")


def test_a_long_text_is_the_engines_to_judge(shape: Shape) -> None:
    assert sent(shape({"input": "fox " * 100}, max_tokens=2))[0]["input"] == ["fox " * 100]


def test_openais_token_numbers_become_text_again(shape: Shape) -> None:
    plan = shape({"input": [[15339, 1917], [15339]]}, token_ids="openai-cl100k")

    assert sent(plan) == [{"model": "m", "input": ["hello world", "hello"]}]


def test_a_number_that_openai_does_not_have_is_no_damaged_file(shape: Shape) -> None:
    with pytest.raises(Refused, match="a token number is none of the vocabulary's") as refused:
        shape({"input": [[1_000_000]]}, token_ids="openai-cl100k")

    assert (refused.value.field, refused.value.code) == ("input", "invalid_value")


def test_many_token_lists_are_decoded_in_groups(tmp_path: Path) -> None:
    arrays = [[15339] * 20_000, [1917] * 20_000, [15339]]
    decoded = [["a"], ["b", "c"]]
    sample = Sample(
        path=PATH,
        json={"model": "m", "input": arrays},
        facts={"token_ids": "openai-cl100k"},
        answers=decoded,
    )
    with Rig(Embedding(Config()), tmp_path) as rig:
        assert sent(rig.plan(sample))[0]["input"] == ["a", "b", "c"]


def test_without_the_extra_token_numbers_are_refused(tmp_path: Path) -> None:
    facts = {"token_ids": "openai-cl100k"}
    sample = Sample(path=PATH, json={"model": "m", "input": [1]}, facts=facts, answers=[None])

    with (
        Rig(Embedding(Config()), tmp_path) as rig,
        pytest.raises(Refused, match=r"modgate\[tokens\]"),
    ):
        rig.plan(sample)


# Dimensions


def test_a_model_of_unknown_length_leaves_dimensions_to_the_engine(shape: Shape) -> None:
    assert sent(shape({"input": "fox", "output_dimension": 256}))[0]["dimensions"] == 256


def test_the_models_own_length_is_not_asked_for(shape: Shape) -> None:
    assert "dimensions" not in sent(shape({"input": "fox", "dimensions": 4}, dimensions=4))[0]


def test_a_shorter_length_is_cut_here_where_the_model_is_flagged(shape: Shape) -> None:
    plan = shape({"input": "fox", "dimensions": 2}, dimensions=4, matryoshka=True)

    assert "dimensions" not in sent(plan)[0]


@pytest.mark.parametrize(
    ("name", "wanted", "code"),
    [
        ("dimensions", 2, "invalid_value"),
        ("dimensions", 8, "integer_above_max_value"),
        ("output_dimension", 8, "integer_above_max_value"),
    ],
)
def test_a_length_that_the_model_does_not_have_is_refused(
    shape: Shape, name: str, wanted: int, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        shape({"input": "fox", name: wanted}, dimensions=4)

    assert (refused.value.field, refused.value.code) == (name, code)


def test_a_flag_without_a_length_is_a_mistake_in_the_config() -> None:
    with pytest.raises(ValidationError, match="matryoshka needs dimensions"):
        Facts(matryoshka=True)


# Input types

PREFIXES = {"query": "query: ", "document": "passage: "}


def test_an_input_type_becomes_the_models_prefix(shape: Shape) -> None:
    plan = shape({"input": ["fox", "dog"], "input_type": "document"}, prefixes=PREFIXES)

    assert sent(plan) == [{"model": "m", "input": ["passage: fox", "passage: dog"]}]


def test_the_prefix_is_in_the_estimate(shape: Shape) -> None:
    plan = shape({"input": "fo", "input_type": "query"}, prefixes=PREFIXES)

    assert isinstance(plan.calls, list)
    assert plan.calls[0].size["input_tokens"] == 3  # 9 bytes


def test_an_input_type_goes_on_where_the_model_has_no_prefixes(shape: Shape) -> None:
    assert sent(shape({"input": "fox", "input_type": "query"}))[0]["input_type"] == "query"


def test_an_unknown_input_type_is_refused_where_the_model_has_prefixes(shape: Shape) -> None:
    with pytest.raises(Refused, match="document, query"):
        shape({"input": "fox", "input_type": "image"}, prefixes=PREFIXES)


def test_a_prefix_cannot_be_put_in_front_of_token_numbers(shape: Shape) -> None:
    with pytest.raises(Refused) as refused:
        shape({"input": [1], "input_type": "query"}, prefixes=PREFIXES, token_ids="native")

    assert refused.value.field == "input_type"


# Calls


def test_inputs_beyond_the_engines_batch_go_out_in_several_calls(shape: Shape) -> None:
    plan = shape({"input": list("abcde")}, batch=2)

    assert [call["input"] for call in sent(plan)] == [["a", "b"], ["c", "d"], ["e"]]
    assert plan.width == 3


def test_the_config_bounds_a_call_and_the_calls_at_once(shape: Shape) -> None:
    plan = shape({"input": list("abcdefg")}, Config(max_items=1, width=2), batch=100)

    assert [len(call["input"]) for call in sent(plan)] == [1] * 7
    assert plan.width == 2


@pytest.mark.parametrize(("count", "heavy"), [(64, False), (65, True)])
def test_a_large_reply_is_built_in_a_thread(shape: Shape, count: int, heavy: bool) -> None:
    assert shape({"input": ["fox"] * count}).relay.heavy is heavy


def test_a_call_is_sized_by_inputs_and_estimated_tokens(shape: Shape) -> None:
    plan = shape({"input": ["fox", "\u72d0\u72d0"]})

    [call] = plan.calls if isinstance(plan.calls, list) else []
    assert isinstance(call, Call)
    assert dict(call.size) == {"inputs": 2, "input_tokens": 3}
