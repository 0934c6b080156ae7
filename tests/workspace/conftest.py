"""What the tests about the repository look at: its members, their sources, the tracked files."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A distribution: the root, a plugin, or an example that a third party could have written."""

    folder: Path
    project: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def source(self) -> Path:
        """The folder that goes on sys.path."""
        return self.folder / ("core/src" if self.folder == ROOT else "src")

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    def files(self) -> list[Path]:
        return sorted(self.source.rglob("*.py"))

    def requirements(self) -> list[str]:
        extras = self.project.get("optional-dependencies", {}).values()
        return [
            *self.project.get("dependencies", ()),
            *(line for extra in extras for line in extra),
        ]


def _read(folder: Path) -> Member:
    text = (folder / "pyproject.toml").read_text()
    return Member(folder=folder, project=tomllib.loads(text)["project"])


def _members(folder: str) -> list[Member]:
    found = [_read(file.parent) for file in sorted(ROOT.glob(f"{folder}/*/pyproject.toml"))]
    return [member for member in found if "modgate.v1" in member.project.get("entry-points", {})]


PLUGINS = _members("plugins")
EXAMPLES = _members("examples")
CORE = _read(ROOT)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def core() -> Member:
    return CORE


@pytest.fixture(scope="session")
def plugins() -> list[Member]:
    return PLUGINS


@pytest.fixture(scope="session")
def examples() -> list[Member]:
    return EXAMPLES


@pytest.fixture(params=[CORE, *PLUGINS], ids=lambda member: member.name)
def member(request: pytest.FixtureRequest) -> Member:
    found: Member = request.param
    return found


@pytest.fixture(params=PLUGINS, ids=lambda member: member.name)
def plugin(request: pytest.FixtureRequest) -> Member:
    found: Member = request.param
    return found


@pytest.fixture(scope="session")
def sources(core: Member, plugins: list[Member], examples: list[Member]) -> list[Path]:
    """Every Python file that is shipped."""
    return [file for member in (core, *plugins, *examples) for file in member.files()]


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """Every file of the repository, committed or new; empty where git knows nothing of it."""
    listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    command = ["git", "-C", str(root), *listing]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [root / name for name in listed.decode().split("\0") if name and (root / name).is_file()]
