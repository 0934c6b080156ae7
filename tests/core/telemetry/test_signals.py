"""The mappings that the page for operators shows, over what the exporters write."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from modgate.api.vitals import Exporter, Rule, Signals
from modgate.config.decode import decode
from modgate.config.link_telemetry import linked_exporters
from modgate.config.mistakes import Mistakes
from modgate.config.source import Source
from modgate.telemetry.signals import Rules

GOLDEN = Path(__file__).parent / "golden"
PAGE = Path(__file__).parents[3] / "docs" / "operators" / "telemetry.md"


def shown() -> dict[str, Exporter]:
    [text] = re.findall(r"```toml\n(# modgate.toml\n.*?)```", PAGE.read_text(), re.DOTALL)
    source = Source(values=tomllib.loads(text))
    mistakes = Mistakes(source)
    found = {each.name: each for each in linked_exporters(decode(source), mistakes)}
    assert mistakes.found == []
    return found


def rules(exporter: Exporter) -> Rules:
    return Rules(
        gpu_memory=exporter.gpu_memory,
        interconnect=exporter.interconnect,
        temperature=exporter.temperature,
    )


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("dcgm", Signals(gpu_memory=0.8, interconnect=4e9, temperature=71)),
        ("ascend", Signals(gpu_memory=0.75, interconnect=201e6, temperature=52)),
    ],
)
def test_the_mapping_that_is_shown_reads_the_exporter(name: str, signals: Signals) -> None:
    assert rules(shown()[name]).signals((GOLDEN / f"{name}.txt").read_bytes()) == signals


def read(**rule: Any) -> float | None:
    made = Rule(**rule)
    page = (GOLDEN / "dcgm.txt").read_bytes()
    return Rules(temperature=made).signals(page).temperature


def test_series_are_taken_together_as_the_operator_says() -> None:
    metric = "DCGM_FI_DEV_GPU_TEMP"

    assert read(metric=metric, take="min") == 58
    assert read(metric=metric, take="mean") == 64.5
    assert read(metric=metric, take="sum") == 129
    assert read(metric=metric, labels=(("gpu", "0"),)) == 58
    assert read(metric=metric, labels=(("gpu", "7"),)) is None
    assert read(metric=metric, scale=0.1) == pytest.approx(7.1)


def test_a_blank_of_the_exporter_and_a_whole_that_is_nothing_are_unknown() -> None:
    assert read(metric="DCGM_FI_DEV_MEMORY_TEMP") is None
    assert read(metric="DCGM_FI_DEV_GPU_TEMP", over=("not_there",)) is None
    assert read(metric="not_there") is None


@pytest.mark.parametrize(
    ("said", "page"),
    [
        ({"url": "http://h:1"}, "http://h:1/metrics"),
        ({"url": "http://h:1/"}, "http://h:1/metrics"),
        ({"url": "http://h:1/gpu/metrics"}, "http://h:1/gpu/metrics"),
        ({"url": "http://h:1/gpu", "path": "/m"}, "http://h:1/gpu/m"),
        ({"port": 9}, ""),
    ],
)
def test_a_url_that_names_a_page_is_the_page(said: dict[str, object], page: str) -> None:
    """As `metrics` of a backend is: `/metrics/metrics` is nowhere, and only the log would know."""
    section = {**said, "temperature": {"metric": "T"}}
    source = Source(values={"signals": {"x": section}})
    [found] = linked_exporters(decode(source), Mistakes(source))
    assert found.url == page
