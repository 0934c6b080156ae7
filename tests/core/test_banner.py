"""The lines to paste that `modgate serve` prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import pytest
from toys.echo import Config, Toy

from modgate.api.model import Model
from modgate.plugin import Sample
from modgate.server.banner import of_sample, pasteable
from modgate.table import Table

ROOT = "http://127.0.0.1:8080"
MODELS = {"parrot": Model(name="parrot", modality="echo")}


def line(sample: Sample, models: Mapping[str, Model] = MODELS) -> list[str]:
    """The words of the line, as a shell reads them."""

    class Told(Toy):
        samples: ClassVar[tuple[Sample, ...]] = (sample,)

    table = Table(routes={}, models=models, modalities={"echo": Told(Config())})
    return shlex.split(of_sample(ROOT, "echo", table))


JSON = Sample(path="/v1/echo", json={"model": "m", "text": "it's a parrot"})


def test_a_sample_is_a_line_that_a_shell_reads_as_it_is_meant() -> None:
    words = line(JSON)

    assert words[:2] == ["curl", f"{ROOT}/v1/echo"]
    assert json.loads(words[-1]) == {"model": "parrot", "text": "it's a parrot"}


def test_no_line_reads_a_file_that_none_before_it_wrote() -> None:
    class Told(Toy):
        samples: ClassVar[tuple[Sample, ...]] = (JSON,)

    names = ("asr", "embedding", "llm", "ocr", "rerank", "tts", "vlm")
    table = Table(
        routes={},
        models={name: Model(name=name, modality=name) for name in names},
        modalities={name: Told(Config()) for name in names},
    )
    written: set[str] = set()
    lines = list(pasteable(ROOT, table))
    for each in lines:
        words = shlex.split(each)
        assert {word.partition("@")[2] for word in words if "@" in word} <= written
        written |= {after for word, after in pairwise(words) if word == "-o"}

    assert len(lines) == len(names)


def test_a_form_is_sent_in_parts() -> None:
    words = line(Sample(path="/v1/echo", form={"model": "m", "file": ("a b.wav", b"RIFF")}))

    assert words[-4:] == ["-F", "model=parrot", "-F", "file=@a b.wav"]


@pytest.mark.parametrize("called", ["modgate", "./dev modgate"])
def test_a_sample_that_nobody_pastes_is_sent_by_the_command(
    called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODGATE_COMMAND", called)
    words = line(replace(JSON, json={"model": "m", "text": "x" * 500}))

    assert words == [*called.split(), "try", "echo", "--url", ROOT]


@pytest.mark.parametrize("models", [{}, {"m": Model(name="m", modality="other")}], ids=len)
def test_without_a_model_there_is_nothing_to_paste(models: Mapping[str, Model]) -> None:
    assert line(JSON, models) == []
