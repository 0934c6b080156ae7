"""A member imports what it declares, not what another member happens to bring along."""

from __future__ import annotations

import ast
import sys
from functools import cache
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conftest import Member


def tops(nodes: Iterable[ast.AST]) -> set[str]:
    """The first segment of every absolute import among the nodes, our own and Python's apart."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return {name for name in found - sys.stdlib_module_names if name.split("_")[0] != "modgate"}


def always(source: str) -> set[str]:
    """What importing the file imports, whatever is installed."""
    return tops(ast.parse(source).body)


def ever(source: str) -> set[str]:
    return tops(ast.walk(ast.parse(source)))


def expand(lines: Iterable[str], core: Member) -> set[str]:
    """The distributions asked for, with `modgate[audio]` standing for what the core lists there."""
    names: set[str] = set()
    for asked in map(Requirement, lines):
        names.add(canonicalize_name(asked.name))
        if asked.name == "modgate":
            names |= expand(core.project["dependencies"], core)
            for extra in asked.extras:
                names |= expand(core.project["optional-dependencies"][extra], core)
    return names


@cache
def providers() -> Mapping[str, list[str]]:
    return packages_distributions()


def undeclared(modules: set[str], declared: set[str]) -> set[str]:
    return {
        module
        for module in modules
        if not declared & {canonicalize_name(name) for name in providers().get(module, ())}
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy.linalg", {"numpy"}),
        ("from PIL import Image", {"PIL"}),
        ("import os, modgate.kit, modgate_llm.relay", set()),
        ("from . import relay", set()),
        ("def f():\n    import av", set()),
        ("try:\n    import uvloop\nexcept ImportError:\n    pass", set()),
    ],
)
def test_what_a_file_always_imports_is_seen(source: str, expected: set[str]) -> None:
    assert always(source) == expected


def test_what_is_imported_later_is_seen_too() -> None:
    assert ever("def f():\n    import av\n    from PIL import Image") == {"av", "PIL"}


def test_an_undeclared_import_is_seen(core: Member) -> None:
    assert undeclared({"PIL", "soundfile"}, expand(["modgate[images]"], core)) == {"soundfile"}


def test_every_import_is_declared(member: Member, core: Member) -> None:
    declared = expand([*member.requirements(), *core.project["dependencies"]], core)
    found = {
        str(file): names
        for file in member.files()
        if (names := undeclared(ever(file.read_text()), declared))
    }

    assert found == {}


def test_what_is_always_imported_needs_no_extra(member: Member, core: Member) -> None:
    """But in kit and testing, which are there for who asked for the extra, in engines, and in the
    file that is all that an extra is for."""
    apart = {"kit", "testing", "engine.py", "engine", "checkpoint.py", "describe.py", "jose.py"}
    declared = expand(member.project["dependencies"], core)
    found = {
        str(file): names
        for file in member.files()
        if not apart & set(file.relative_to(member.source).parts)
        if (names := undeclared(always(file.read_text()), declared))
    }

    assert found == {}
