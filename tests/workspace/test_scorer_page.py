"""The scorers that the page for plugin authors shows are run: they keep their contract."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modgate.plugin import Placement, Signals, Units, Vitals
from modgate.testing import ScorerCase, ScorerContract, Seen

PAGE = Path(__file__).parents[2] / "docs" / "plugin-authors" / "scorers.md"
COOL, LONG, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
RULES = [name for name in dir(ScorerContract) if name.startswith("test_")]
HOT = Vitals(signals=Signals(temperature=91.0), signals_weight=1.0)
HOUR = Placement(model="ears", modality="asr", size=Units(audio_ms=3_600_000))


def shown(source: str, name: str) -> Any:
    """A class of a block, run as a module of its own."""
    module = ModuleType("shown")
    exec(compile(source, str(PAGE), "exec", dont_inherit=True), vars(module))
    return getattr(module, name)


class Cool(ScorerContract):
    scorer = shown(COOL, "Cool")
    cases = (
        ScorerCase(
            call=Placement(model="chat", modality="llm"),
            candidates=[Seen(backend="a", vitals=HOT), Seen(backend="b")],
            says=[3.0, 1.0],
        ),
    )


class Long(ScorerContract):
    scorer = shown(LONG, "LongOnBig")
    cases = (
        ScorerCase(
            call=HOUR,
            candidates=[Seen(backend="a", slots=4), Seen(backend="b", slots=8)],
            says=[False, True],
        ),
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("contract", [Cool, Long])
def test_a_scorer_of_the_page_keeps_its_contract(contract: type[ScorerContract], rule: str) -> None:
    getattr(contract(), rule)()
