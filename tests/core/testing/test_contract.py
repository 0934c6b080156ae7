"""What a subclass of the contract may do, and what it may not."""

from __future__ import annotations

from typing import ClassVar

import pytest
from toys.bugs import buffers_the_stream
from toys.echo import Toy, echoed

from modgate.plugin import Call
from modgate.testing import Contract

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
