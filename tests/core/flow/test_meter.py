"""What a request has cost: its plan and its side calls, once, and nothing that no row can hold."""

from __future__ import annotations

import pytest
from rigs.drafts import drafted

from modgate.api.relay import Usage
from modgate.errors import PluginFault
from modgate.meter import Meter
from modgate.units import COUNT_AT_MOST, Unit, Units, UnitTable

TABLE = UnitTable.of(
    {
        "llm": (Unit("input_tokens", "read"), Unit("output_tokens", "written", learned=True)),
        "asr": (Unit("audio_ms", "heard", shown="audio_seconds", scale=1000),),
    }
)
SIDE = Usage(Units(input_tokens=4))
OWN = Usage(Units(input_tokens=10, output_tokens=3), by="engine")


def made() -> Meter:
    return Meter(TABLE, drafted(modality="llm"))


def raising() -> Usage:
    raise ValueError("no idea")


def test_side_calls_and_plan_are_one_bill_which_is_exact_where_both_are() -> None:
    meter = made()
    meter.add_aside(SIDE, "llm", -1)
    meter.add_aside(Usage(Units(audio_ms=1500)), "asr", -2)
    assert meter.so_far() is None
    meter.plan = lambda: OWN

    assert dict((meter.so_far() or Units()).items()) == dict(meter.closed().units.items())
    assert dict(meter.closed().units.items()) == {
        "llm.input_tokens": 14,
        "llm.output_tokens": 3,
        "asr.audio_ms": 1500,
    }
    assert (meter.closed().exact, meter.closed().by) == (True, "engine")
    assert meter.header() == "input_tokens=14;audio_seconds=1.5;output_tokens=3"


@pytest.mark.parametrize(("side", "own"), [(False, True), (True, False), (False, False)])
def test_one_estimate_makes_a_bill_no_exact_one(side: bool, own: bool) -> None:
    meter = made()
    meter.add_aside(Usage(Units(input_tokens=4), exact=side), "llm", -1)
    meter.add_aside(SIDE, "llm", -2)
    meter.plan = lambda: Usage(Units(input_tokens=1), exact=own)

    assert meter.settled().exact is False


def test_what_was_closed_is_the_bill_whatever_the_plan_says_later() -> None:
    meter = made()
    meter.plan = lambda: OWN
    first = meter.closed()
    meter.plan = raising

    assert meter.closed() is meter.settled() is first


@pytest.mark.parametrize(
    "usage",
    [
        Usage(Units(unheard_of=1)),
        Usage(Units(input_tokens=COUNT_AT_MOST + 1)),
    ],
)
def test_what_no_row_can_hold_is_the_plugins_fault_and_not_billed(usage: Usage) -> None:
    meter = made()
    meter.plan = lambda: usage
    assert meter.so_far() is None
    with pytest.raises(PluginFault):
        meter.closed()
    asked = made()
    with pytest.raises(PluginFault):
        asked.add_aside(usage, "llm", -1)

    assert not asked.settled().units


def test_side_calls_that_are_too_much_together_are_billed_as_far_as_a_row_can_hold() -> None:
    meter = made()
    much = Usage(Units(input_tokens=COUNT_AT_MOST))
    meter.add_aside(much, "llm", -1)
    with pytest.raises(PluginFault):
        meter.add_aside(SIDE, "llm", -2)

    assert meter.settled().units["llm.input_tokens"] == COUNT_AT_MOST


def test_where_the_plan_cannot_say_its_usage_side_calls_are_billed_all_the_same() -> None:
    meter = made()
    meter.add_aside(SIDE, "llm", -1)
    meter.plan = raising
    assert meter.so_far() is None
    with pytest.raises(PluginFault):
        meter.closed()
    settled = meter.settled()

    assert dict(settled.units.items()) == {"llm.input_tokens": 4}
    assert (settled.exact, settled.by) == (False, "estimate")


def test_counts_are_compared_without_those_of_side_calls() -> None:
    meter = made()
    notes: list[str | None] = []
    meter.add_aside(Usage(Units(input_tokens=400)), "llm", -1)
    for other in (Units(), Units(input_tokens=10), Units(input_tokens=90)):
        meter.compare({"llm.input_tokens": 410}, other)
        notes.append(meter._draft.notes.get("counts_differ"))

    assert notes == [None, None, "llm.input_tokens 10 against 90"]
