"""Loads in the heads of replies: as engines write them, and as nobody should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.select import Backend
from modgate.api.vitals import Load
from modgate.telemetry.orca import TELLS, Remarks, load_of

GOLDEN = Path(__file__).parent / "golden" / "orca.txt"
VLLM = Backend(name="v", family="vllm", url="http://v", serves={})


def golden() -> list[tuple[str, Load | None]]:
    """Each line: running, waiting and cache (- = unknown; alone: nothing of use), then a header."""
    found: list[tuple[str, Load | None]] = []
    for line in GOLDEN.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        expected, _, header = line.partition(" | ")
        values = [None if each == "-" else float(each) for each in expected.split()]
        load = Load(running=values[0], waiting=values[1], kv_use=values[2])
        found.append((header, None if load == Load() else load))
    return found


@pytest.mark.parametrize(("header", "load"), golden())
def test_a_header_is_read_as_it_is_written(header: str, load: Load | None) -> None:
    assert load_of(header) == load


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.text(max_size=80)
    | st.builds("{} {}".format, st.sampled_from(["JSON", "TEXT", "BIN"]), st.text(max_size=80))
    | st.builds('JSON {{"named_metrics": {{"kv_cache_usage_perc": {}}}}}'.format, st.text())
)
def test_whatever_is_written_no_call_fails(header: str) -> None:
    assert isinstance(load_of(header), Load | None)


def test_an_engine_is_asked_now_and_then_and_only_one_that_answers_it() -> None:
    now = [10.0]
    heard: list[tuple[str, Load, float, float]] = []
    remarks = Remarks(0.25, lambda: now[0], lambda *each: heard.append(each))
    asked = []
    for moment in (10.0, 10.1, 10.2, 10.25, 10.3):
        now[0] = moment
        asked.append(remarks.ask(VLLM))
    remarks.hear(VLLM, {TELLS: "TEXT named_metrics.kv_cache_usage_perc=0.5"})
    remarks.hear(VLLM, {})

    assert asked == [True, False, False, True, False]
    assert heard == [("http://v", Load(kv_use=0.5), 10.3, 0.25)]
    assert not remarks.ask(replace(VLLM, family="sglang", url="http://s"))
    assert remarks.ask(replace(VLLM, family="home", metrics_family="triton", url="http://t"))
    assert not Remarks(0.0, lambda: 0.0, lambda *each: None).ask(VLLM)
