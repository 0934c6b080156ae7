"""`modgate plugins test`: the contract of what is installed, as verdicts and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_plugins import installed

from modgate.cli import main

MADE = """
import toys.echo
from toys.bugs import {bug}
from modgate.plugin import hookimpl

class Brought({bug}()):
    samples = toys.echo.Toy.samples[:2]

@hookimpl
def modgate_modalities():
    return [Brought]
"""
UNSHAPED = """
import toys.echo
from dataclasses import replace
from modgate.plugin import hookimpl

class Brought(toys.echo.Toy):
    samples = toys.echo.Toy.samples[:2]

    def endpoints(self):
        return [replace(each, shape=self.unshaped) for each in super().endpoints()]

    def unshaped(self, request):
        raise KeyError("planted")

@hookimpl
def modgate_modalities():
    return [Brought]
"""
JUDGE = """
from modgate.plugin import Allow, PlanPolicy, hookimpl
from pydantic import BaseModel

class Config(BaseModel, frozen=True, extra="forbid"):
    pass

class Judge(PlanPolicy[Config]):
    name = "judge"
    config_type = Config

    def decide(self, caller, request, plan):
        return Allow()

@hookimpl
def modgate_policies():
    return [Judge]
"""


def asked(*words: str) -> tuple[int, list[str]]:
    """The exit code, and what is said."""
    result = CliRunner().invoke(main, ["plugins", "test", *words])
    return result.exit_code, result.output.splitlines()


def below(said: list[str], verdict: str) -> str:
    """The line under a verdict: why."""
    return said[said.index(verdict) + 1].strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that plugins are installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.slow
def test_a_bug_is_told_by_its_rule_and_its_reason(folder: Path) -> None:
    installed(folder, "twice", "1.0", MADE.format(bug="bills_twice"))

    code, said = asked("twice")

    assert code == 1
    assert said[0] == "modality toy  acme-twice 1.0"
    assert "sample 0" in below(said, "  broken       a sample has its reply and its usage")
    assert "  holds        a planted secret reaches no output" in said


def test_a_cause_that_breaks_many_rules_is_told_once(folder: Path) -> None:
    installed(folder, "unshaped", "1.0", UNSHAPED)

    code, said = asked("unshaped")

    causes = [line.strip() for line in said if "KeyError: 'planted'" in line]
    same = [line.strip() for line in said if "by the same as:" in line]
    assert code == 1
    assert len(causes) == 2  # by itself, and below what a rule says of it
    assert len(same) > 5
    assert set(same) == {f"by the same as: {said[1].removeprefix('  broken       ')}"}


def test_what_a_wheel_does_not_show_is_no_verdict(folder: Path) -> None:
    installed(folder, "judging", "1.0", JUDGE)

    code, said = asked("judging")

    assert code == 0
    assert said[:2] == ["policy judge", "  not checked  whether it does what it should"]
    assert said[2:] == ["0 holds, 0 broken, 1 not checked"]


def test_a_name_that_is_no_plugin_is_guessed_at() -> None:
    code, said = asked("lm")

    assert (code, said[-1]) == (2, "Error: no plugin 'lm'; did you mean 'llm'?")


def test_a_plugin_that_the_file_leaves_out_is_switched_on_first(tmp_path: Path) -> None:
    path = tmp_path / "modgate.toml"
    path.write_text("[plugin.llm]\n")

    code, said = asked("tts", "--config", str(path))

    assert (code, said[-1]) == (2, f"Error: {path} does not switch it on; add [plugin.tts]")


def test_without_the_kits_packages_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(folder, "judging", "1.0", JUDGE)
    monkeypatch.delattr("modgate.cli.conformance", raising=False)
    monkeypatch.setitem(sys.modules, "modgate.cli.conformance", None)

    code, said = asked("judging")

    assert code == 1
    assert said[-1].endswith("run: python -m pip install 'modgate[testing]'")
