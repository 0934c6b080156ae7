"""The policies that the page for plugin authors shows are run: they keep their contract."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modgate.plugin import Allow, Body, Call, Deny, Units
from modgate.testing import PolicyCase, PolicyContract

PAGE = Path(__file__).parents[2] / "docs" / "plugin-authors" / "policies.md"
SHORT, GUARD, CASES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
RULES = [name for name in dir(PolicyContract) if name.startswith("test_")]


def shown(source: str, name: str) -> Any:
    """A class of a block, run as a module of its own."""
    module = ModuleType("shown")
    exec(compile(source, str(PAGE), "exec", dont_inherit=True), vars(module))
    return getattr(module, name)


def prompt(text: str, tokens: int) -> list[Call]:
    size = Units(input_tokens=tokens)
    return [Call(path="/v1/completions", body=Body.of(prompt=text), size=size)]


class Short(PolicyContract):
    policy = shown(SHORT, "ShortPrompts")
    cases = (
        PolicyCase(calls=prompt("short", 4000), decision=Allow()),
        PolicyCase(calls=prompt("long", 4001), decision=Deny),
    )


def told(source: str) -> type[PolicyContract]:
    """The contract of the page itself, which imports its policy from a distribution."""
    made = ModuleType("acme_guard")
    made.__dict__["Guard"] = shown(GUARD, "Guard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "acme_guard", made)
        contract = shown(source, "TestGuard")
    assert issubclass(contract, PolicyContract)
    return contract


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("contract", [Short, told(CASES)])
def test_a_policy_of_the_page_keeps_its_contract(contract: type[PolicyContract], rule: str) -> None:
    getattr(contract(), rule)()
