"""What a subclass of the contract may do, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from toys import parrot
from toys.bugs import buffers_the_stream, goes_on_when_shape_is_closed
from toys.echo import Toy, echoed
from toys.parrot import Parrot

from modgate.plugin import Call, Event, Outgoing, Unit
from modgate.testing import Contract
from modgate.testing.rig import Incomplete

FLOWS = "test_a_stream_is_relayed_as_it_comes"


class TestExcused(Contract):
    """A rule in `xfail` is expected to fail; the other rules are not excused."""

    modality = buffers_the_stream()
    examples = 5
    xfail: ClassVar = {FLOWS: "it is planted to buffer"}

    def engine(self, call: Call) -> bytes:
        return echoed(call)


def test_a_rule_cannot_be_overridden() -> None:
    with pytest.raises(TypeError, match="xfail with a reason"):
        type("Lax", (Contract,), {"modality": Toy, FLOWS: lambda self: None})


def test_a_rule_cannot_be_overridden_by_what_is_mixed_in() -> None:
    lax = type("Lax", (), {FLOWS: lambda self: None})

    with pytest.raises(TypeError, match="Lax overrides the rule"):
        type("Mixed", (lax, Contract), {"modality": Toy})


def test_what_a_rule_stands_on_cannot_be_overridden() -> None:
    with pytest.raises(TypeError, match="overrides"):
        type("Lax", (Contract,), {"modality": Toy, "_fuzz_bodies": lambda *args: None})


def test_a_subclass_may_add_tests_and_settings_of_its_own() -> None:
    more = {"modality": Toy, "examples": 9, "test_of_its_own": lambda self: None}

    assert type("More", (Contract,), more).examples == 9


@pytest.mark.parametrize(
    ("xfail", "told"), [({"test_no_such_rule": "why"}, "names no rule"), ({FLOWS: " "}, "reason")]
)
def test_an_excuse_names_a_rule_and_a_reason(xfail: dict[str, str], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        type("Excused", (Contract,), {"modality": Toy, "xfail": xfail})


def test_an_engine_that_answers_no_bytes_is_told_so(tmp_path: Path) -> None:
    class Played(Contract):
        modality = Toy

        def engine(self, call: Call) -> bytes:
            return Event(echoed(call))  # type: ignore[return-value]  # planted: no bytes

    with pytest.raises(Incomplete, match=r"engine\(call\) must answer bytes, and not Event"):
        Played().test_calls_that_share_a_trip_get_their_own(tmp_path)


def test_a_dialect_that_trips_over_a_transcript_is_told_with_its_name(tmp_path: Path) -> None:
    def encode(self: Parrot) -> Outgoing:
        raise KeyError("input")

    class Tripped(Contract):
        modality = Toy
        dialects: ClassVar = (type("Tripping", (Parrot,), {"encode": encode}),)
        transcripts = Path(parrot.__file__).parent / "transcripts"

    with pytest.raises(AssertionError, match=r"parrot/\S+: encode ended in KeyError"):
        Tripped().test_a_transcripts_request_is_what_the_engine_wants(tmp_path)


@pytest.mark.parametrize("samples", [5, ("a request",)])
def test_samples_that_are_none_are_told(samples: object) -> None:
    spoilt = type("Spoilt", (Toy,), {"samples": samples})

    with pytest.raises(Incomplete, match="the samples of Spoilt are no tuple of Sample"):
        list(type("Played", (Contract,), {"modality": spoilt})().samples())


def test_a_unit_that_says_nothing_is_told() -> None:
    spoilt = type("Spoilt", (Toy,), {"units": (Unit("things", None),)})  # type: ignore[arg-type]  # it is the fault

    with pytest.raises(AssertionError, match="things does not say what it counts"):
        type("Played", (Contract,), {"modality": spoilt})().test_units_say_what_they_count()


def test_a_decoders_function_beside_the_plugins_hooks_is_told(tmp_path: Path) -> None:
    """A decoder process would import the gateway with it."""

    class OfHeavy(Contract):
        modality = goes_on_when_shape_is_closed()

    with pytest.raises(AssertionError, match=r"neither modgate nor aiohttp, not toys\.bugs"):
        OfHeavy().test_shape_is_bounded_and_opens_no_socket(tmp_path)
