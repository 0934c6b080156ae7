"""What a plugin cannot make of a section is told at the section, with whose fault it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_plugins import Words, installed, plugin
from pydantic import BaseModel

from modgate.cli import main
from modgate.host.installed import Installed
from modgate.plugin import (
    Authenticator,
    Caller,
    Candidate,
    Credential,
    Decision,
    Discoverer,
    Finding,
    LedgerSink,
    Number,
    Placement,
    PlanPolicy,
    Reject,
    Request,
    Scorer,
)
from modgate.plugin import Plan as Shaped
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of


class Nothing(BaseModel, frozen=True, extra="forbid"):
    """No key."""


class Strict(PlanPolicy[Nothing]):
    """Never comes to decide."""

    name = "strict"
    config_type = Nothing

    def __init__(self, config: Nothing) -> None:
        raise KeyError("rules")

    def decide(self, caller: Caller, request: Request, plan: Shaped) -> Decision:
        raise AssertionError


class Near(Scorer[Nothing]):
    """Never comes to score."""

    name = "near"
    config_type = Nothing

    def __init__(self, config: Nothing) -> None:
        raise ValueError("no map")

    def scores(
        self, call: Placement, candidates: Sequence[Candidate], seconds: Sequence[float]
    ) -> Sequence[float]:
        raise AssertionError


class Lost(Authenticator[Nothing]):
    """Does not know where it would ask."""

    name = "lost"
    config_type = Nothing

    def origins(self) -> Sequence[str]:
        raise RuntimeError("no server")

    def authenticate(self, credential: Credential) -> Reject:
        raise AssertionError


class Blind(Discoverer[Nothing]):
    """Never comes to look."""

    name = "blind"
    config_type = Nothing

    def __init__(self, config: Nothing) -> None:
        raise OSError("no eyes")

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        raise AssertionError


class Full(LedgerSink):
    """Never comes to keep anything."""

    name = "full"
    config_type = Nothing

    def __init__(self, config: BaseModel, *, folder: Path, password: object) -> None:
        raise ValueError(f"no room beside {folder.name}")


HOUSE = plugin(
    modgate_policies=[Strict],
    modgate_scorers=[Near],
    modgate_authenticators=[Lost],
    modgate_discoverers=[Blind],
    modgate_sinks=[Full],
)
ENABLED = '[plugin.words]\n[plugin.house]\n[model.chat]\nmodality = "words"\n'
SECTIONS = {
    "[policy.strict]": ("policy.strict", "raised KeyError: 'rules'"),
    "[scorer.near]": ("scorer.near", "raised ValueError: no map"),
    "[auth.plugin.lost]": ("auth.plugin.lost", "raised RuntimeError: no server"),
    '[[discover]]\nname = "d"\nkind = "blind"\nserves = { chat = "c" }': (
        "discover[0]",
        "raised OSError: no eyes",
    ),
    '[[ledger.sink]]\nkind = "full"': ("ledger.sink[0]", "raised ValueError: no room beside here"),
}
STATE = '[state]\ndirectory = "/nowhere/here"\n'

NEAR = """
from pydantic import BaseModel
from modgate.plugin import LedgerSink, Scorer, hookimpl

class Nothing(BaseModel):
    pass

class Near(Scorer):
    name, config_type = "near", Nothing

    def __init__(self, config):
        self.table = open("no such table")

    def scores(self, call, candidates, seconds):
        return [1.0] * len(candidates)

class Far(LedgerSink):
    name = "far"

@hookimpl
def modgate_scorers():
    return [Near]

@hookimpl
def modgate_sinks():
    return [Far]
"""


def refused(folder: Path, text: str) -> list[str]:
    path = folder / "modgate.toml"
    path.write_text(text)
    extra = {"words": plugin(modgate_modalities=[Words]), "house": HOUSE}
    with pytest.raises(ConfigError) as caught:
        blueprint_of(path, installed=Installed(), extra=extra)
    return [str(each).removeprefix(f"{folder}/") for each in caught.value.problems]


@pytest.mark.parametrize("section", SECTIONS)
def test_what_cannot_be_made_of_a_section_is_told_there(tmp_path: Path, section: str) -> None:
    key, said = SECTIONS[section]

    told = refused(tmp_path, ENABLED + STATE + section + "\n")

    assert told == [f"modgate.toml:7: {key}: plugin 'house (house 0)' {said}"]


def test_all_of_them_are_told_at_once(tmp_path: Path) -> None:
    assert len(refused(tmp_path, ENABLED + STATE + "\n".join(SECTIONS))) == len(SECTIONS)


def test_they_are_told_beside_mistakes_of_other_sections(tmp_path: Path) -> None:
    wrong = (
        '[[discover]]\nname = "e"\nkind = "none"\nserves = { chat = "c" }\n'
        '[[ledger.sink]]\nkind = "none"\n'
    )
    told = refused(tmp_path, ENABLED + STATE + wrong + "\n".join(SECTIONS))

    assert [each.split(": ")[:2] for each in told] == [
        ["modgate.toml:9", "discover[0].kind"],
        ["modgate.toml:12", "ledger.sink[0].kind"],
        ["modgate.toml:13", "policy.strict"],
        ["modgate.toml:14", "scorer.near"],
        ["modgate.toml:15", "auth.plugin.lost"],
        ["modgate.toml:16", "discover[1]"],
        ["modgate.toml:20", "ledger.sink[1]"],
    ]


def test_the_command_names_distribution_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "near", "1.2.0", NEAR)
    path = tmp_path / "modgate.toml"
    path.write_text("[plugin.near]\n[scorer.near]\n")
    monkeypatch.syspath_prepend(tmp_path)

    result = CliRunner().invoke(main, ["check", str(path)])

    assert result.exit_code == 1
    assert re.search(
        r"modgate\.toml:2: scorer\.near: plugin 'near \(acme-near 1\.2\.0\)' "
        r"raised FileNotFoundError: .*no such table",
        result.stderr,
    )


def test_all_that_a_plugin_brings_is_listed_and_nothing_of_the_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "near", "1.2.0", NEAR)
    path = tmp_path / "modgate.toml"
    path.write_text("[plugin.near]\n")
    monkeypatch.syspath_prepend(tmp_path)

    result = CliRunner().invoke(main, ["plugins", "--config", str(path)])

    lines = result.output.splitlines()
    at = lines.index("near         acme-near 1.2.0  API v1  on")
    assert [line.split() for line in lines[at + 1 : at + 3]] == [
        ["scorer", "near"],
        ["sink", "far"],
    ]
    assert not [line for line in lines if "sqlite" in line or "kubernetes" in line]
