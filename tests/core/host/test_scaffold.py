"""`modgate plugins new`: what it writes is a plugin that keeps its contract as it is."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from click.testing import CliRunner

from modgate.cli import main, scaffold
from modgate.testing import Contract
from modgate.testing.contract import rules

CHECKED = "E,F,I,UP,B,C4,SIM,RET,RUF,PT"


def modgate(*words: str | Path) -> str:
    """What the command says, with its exit code in front when that is not 0."""
    result = CliRunner().invoke(main, [*map(str, words)])
    return f"{result.exit_code or ''}{result.output}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    modgate("plugins", "new", "acme-tone", folder)
    return folder


def forget(package: str) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        del sys.modules[name]


def test_it_keeps_its_contract(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder / "src")
    file = folder / "tests" / "test_contract.py"
    spec = spec_from_file_location("acme_tone_contract", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["acme_tone_contract"] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        kind: type[Contract] = type("Quick", (module.TestTone,), {"examples": 10})
        kind.__module__ = module.__name__
        for rule in rules():
            method = getattr(kind(), rule)
            method(*([tmp_path / rule] if inspect.signature(method).parameters else []))
        hooks = import_module("acme_tone")
    finally:
        forget("acme_tone")
        forget("acme_tone_contract")

    assert [each.name for each in hooks.modgate_modalities()] == ["tone"]
    assert [each.family for each in hooks.modgate_dialects()] == ["tone-engine"]
    assert len(list(file.parent.glob("transcripts/tone-engine/*.toml"))) == 2


def test_it_offers_itself_to_this_modgate(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]

    assert project["name"] == "acme-tone"
    assert project["entry-points"] == {"modgate.v1": {"tone": "acme_tone"}}
    assert project["dependencies"][0] == "modgate>=0.1,<0.2"


def test_no_word_of_the_templates_is_left(folder: Path) -> None:
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]

    assert len(texts) == 10
    assert [text for text in texts if "$" in text] == []


def test_it_is_written_as_a_linter_wants_it(folder: Path) -> None:
    common = ["--isolated", "--line-length", "100", "--no-cache"]
    for command in (["check", "--select", CHECKED], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *common, "."],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout


def test_a_folder_that_is_full_is_left_alone(folder: Path) -> None:
    (folder / "README.md").write_text("mine")

    assert "is not empty" in modgate("plugins", "new", "acme-tone", folder)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("Acme-Tone",), "is no name"),
        (("acme_tone",), "is no name"),
        (("acme-9",), "is no modality"),
        (("acme-tone", "--modality", "Tone"), "is no modality"),
        (("acme-llm",), "is taken"),
        (("acme-tone", "--modality", "embeddings"), "is taken"),
        (("acme-models",), "is taken"),
        (("acme-requests",), "is taken"),
        (("class", "--modality", "tone"), "no package"),
    ],
)
def test_a_name_that_cannot_be_taken_is_told(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    said = modgate("plugins", "new", *words[:1], tmp_path / "made", *words[1:])

    assert said.startswith("1Error: ")
    assert told in said
    assert not (tmp_path / "made").exists()


def test_a_modality_of_several_words_is_a_class_of_one() -> None:
    words = scaffold.names("acme-speech", "speaker_turns", ()).words()

    assert (words["Modality"], words["family"]) == ("SpeakerTurns", "speaker-turns-engine")


def test_called_bare_the_installed_plugins_are_listed() -> None:
    said = modgate("plugins")

    assert "modality llm; units input_tokens" in said
    assert "POST /v1/chat/completions" in said
    assert "dialect vllm of llm" in said


def test_a_plugin_that_is_broken_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made"
    modgate("plugins", "new", "acme-tone", folder)
    monkeypatch.syspath_prepend(str(folder / "src"))
    info = folder / "src" / "acme_tone-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tone\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modgate.v1]\ntone = acme_tone\nworse = acme_nowhere\n")

    said = modgate("plugins")
    forget("acme_tone")

    assert said.startswith("1")
    assert "worse        acme-tone 1  API v1  broken" in said
    assert "plugin 'worse (acme-tone 1)' raised ModuleNotFoundError from the import of" in said
    assert "dialect tone-engine of tone" in said
    assert "modality llm; units input_tokens" in said
