"""The contract kit judged by bugs: the clean toy keeps every rule, a spoilt one breaks its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from toys import parrot
from toys.bugs import BUGS
from toys.echo import Toy, ToyHome, echoed
from toys.parrot import DIALECT_BUGS, Parrot

from modgate.plugin import Call
from modgate.testing import Contract
from modgate.testing.contract import rules

TRANSCRIPTS = Path(parrot.__file__).parent / "transcripts"


def contract(toy: type[Toy], dialect: type[Parrot] = Parrot) -> Contract:
    class OfToy(Contract):
        modality = toy
        dialects: ClassVar = (ToyHome, dialect)
        transcripts = TRANSCRIPTS
        examples = 60

        def engine(self, call: Call) -> bytes:
            return echoed(call)

    return OfToy()


def check(toy: type[Toy], rule: str, directory: Path, *, dialect: type[Parrot] = Parrot) -> None:
    method = getattr(contract(toy, dialect), rule)
    method(*([directory] if inspect.signature(method).parameters else []))


@pytest.mark.parametrize("rule", rules())
def test_a_clean_modality_keeps_every_rule(rule: str, tmp_path: Path) -> None:
    check(Toy, rule, tmp_path)


@pytest.mark.parametrize(
    ("bug", "rule"), BUGS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_planted_bug_breaks_its_rule(
    bug: Callable[[], type[Toy]], rule: str, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError) as broken:
        check(bug(), rule, tmp_path)

    assert str(broken.value), "a rule must say what is wrong"


@pytest.mark.parametrize(
    ("bug", "rule"), DIALECT_BUGS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_bug_of_a_dialect_breaks_its_rule(
    bug: Callable[[], type[Parrot]], rule: str, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError) as broken:
        check(Toy, rule, tmp_path, dialect=bug())

    assert "parrot" in str(broken.value) or "cockatoo" in str(broken.value)
