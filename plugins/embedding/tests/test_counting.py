"""Models whose tokenizer is at hand: exact tokens before the call, alone or shared."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import tokenizers

from modgate.kit.tokens import each_by_file
from modgate.plugin import Call, Event, Json, Refused, Sample
from modgate.testing import Drive, Rig
from modgate_embedding.batching import split
from modgate_embedding.config import Config
from modgate_embedding.modality import Embedding

PATH, COHERE = "/v1/embeddings", "/v2/embed"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tokenizer of words, with a mark at each end, that would cut and fill if it were let."""
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "fox": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_truncation(4)
    made.enable_padding(length=4)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def started(
    folder: Path, file: Path, body: Json, counts: Json, path: str = PATH, **facts: Json
) -> Drive:
    facts = {"tokenizer": str(file), **facts}
    sample = Sample(path=path, json={"model": "m", **body}, facts=facts, answers=[counts])
    with Rig(Embedding(Config()), folder) as rig:
        return rig.drive(rig.plan(sample))


def drawn(drive: Drive) -> Call:
    call = drive.draw()
    assert call is not None
    return call


def silent(count: int, **usage: Json) -> Event:
    rows = [{"index": index, "embedding": [1.0]} for index in range(count)]
    return Event(orjson.dumps({"data": rows, **({"usage": usage} if usage else {})}))


def test_a_text_is_counted_with_its_marks_and_neither_cut_nor_filled(file: Path) -> None:
    assert each_by_file(str(file), ["fox", "", "a fox and a fox again"]) == [3, 2, 8]


def test_a_call_is_reserved_and_billed_by_exact_tokens(tmp_path: Path, file: Path) -> None:
    drive = started(tmp_path, file, {"input": ["fox", "a fox"]}, [3, 4])
    assert drawn(drive).size["input_tokens"] == 7
    drive.feed(silent(2))
    drive.end()

    usage = drive.usage()
    assert (usage.units["input_tokens"], usage.exact, usage.by) == (7, True, "gateway")
    assert not usage.other


@pytest.mark.parametrize("shares", [(True, False), (False, True)])
def test_where_one_call_is_an_estimate_the_others_own_counts_make_no_exact_bill(
    tmp_path: Path, file: Path, shares: tuple[bool, bool]
) -> None:
    drive = started(tmp_path, file, {"input": ["fox", "a fox"]}, [3, 4], batch=1)
    for shared in shares:
        drawn(drive)
        drive.feed(silent(1, prompt_tokens=2, apportioned=True) if shared else silent(1))
        drive.end()

    usage = drive.usage()
    assert (usage.exact, usage.by) == (False, "estimate")


def test_what_the_gateway_counted_stands_beside_what_the_engine_says(
    tmp_path: Path, file: Path
) -> None:
    drive = started(tmp_path, file, {"input": ["fox", "a fox"]}, [3, 4])
    drawn(drive)
    drive.feed(silent(2, prompt_tokens=700))
    drive.end()
    usage = drive.usage()

    assert (usage.units["input_tokens"], usage.by) == (700, "engine")
    assert dict(usage.other) == {"input_tokens": 7}


def test_a_shared_call_costs_what_it_costs_alone(tmp_path: Path, file: Path) -> None:
    calls = [drawn(started(tmp_path, file, {"input": "x" * n}, [n + 2])) for n in (1, 50, 7)]
    shares = split(calls, silent(3, prompt_tokens=3 + 52 + 9))

    usages = [orjson.loads(share.data)["usage"] for share in shares]
    assert usages == [{"prompt_tokens": 3}, {"prompt_tokens": 52}, {"prompt_tokens": 9}]


def test_an_engine_that_counts_otherwise_has_its_total_shared_out(
    tmp_path: Path, file: Path
) -> None:
    calls = [drawn(started(tmp_path, file, {"input": "x"}, [4])) for _ in range(2)]
    shares = split(calls, silent(2, prompt_tokens=7))

    usages = [orjson.loads(share.data)["usage"] for share in shares]
    assert usages == [
        {"prompt_tokens": 4, "apportioned": True},
        {"prompt_tokens": 3, "apportioned": True},
    ]


def test_too_many_tokens_are_refused_before_the_call(tmp_path: Path, file: Path) -> None:
    with pytest.raises(Refused) as refused:
        started(tmp_path, file, {"input": ["a", "b"]}, [3, 513], max_tokens=512)

    assert (refused.value.field, refused.value.code) == ("input", "context_length_exceeded")
    assert "513 tokens" in refused.value.message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, {"input": ["a"], "truncation": True}),
        (COHERE, {"texts": ["a"], "input_type": "clustering"}),
    ],
)
def test_what_the_engine_cuts_is_counted_as_far_as_it_is_read(
    tmp_path: Path, file: Path, path: str, body: Json
) -> None:
    drive = started(tmp_path, file, body, [700], path, max_tokens=512)

    assert drawn(drive).size["input_tokens"] == 512


def test_without_the_library_tokens_are_estimated(tmp_path: Path, file: Path) -> None:
    assert drawn(started(tmp_path, file, {"input": "abcdef"}, None)).size["input_tokens"] == 2
