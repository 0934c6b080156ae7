"""The root and the plugins agree with each other and with requirements.lock."""

from __future__ import annotations

import re
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from conftest import Member

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]  # which ./dev takes
MODALITIES = ["asr", "embedding", "llm", "ocr", "rerank", "tts", "vlm"]
LOCKED = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+))?", re.M
)


@pytest.fixture(scope="module")
def lock(root: Path) -> str:
    return (root / "requirements.lock").read_text()


@pytest.fixture(scope="module", params=PYTHONS)
def locked(lock: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Version by name, of what this machine installs for a Python."""
    python = {"python_version": request.param, "python_full_version": f"{request.param}.0"}
    entries = [Requirement(found[0].rstrip(" \\")) for found in LOCKED.finditer(lock)]
    return {
        canonicalize_name(entry.name): str(entry.specifier).removeprefix("==")
        for entry in entries
        if entry.marker is None or entry.marker.evaluate(dict(python))
    }


def test_every_modality_is_a_distribution_of_its_own(plugins: list[Member]) -> None:
    assert [plugin.folder.name for plugin in plugins] == MODALITIES
    assert [plugin.name for plugin in plugins] == [f"modgate-{name}" for name in MODALITIES]


def test_a_plugin_offers_itself_under_the_name_of_its_folder(plugin: Member) -> None:
    assert plugin.project["entry-points"] == {
        "modgate.v1": {plugin.folder.name: f"modgate_{plugin.folder.name}"}
    }


def test_the_entry_points_installed_here_are_those_declared(plugins: list[Member]) -> None:
    installed = {point.name: point.value for point in entry_points(group="modgate.v1")}

    assert {name: installed.get(name) for name in MODALITIES} == {
        plugin.folder.name: plugin.package for plugin in plugins
    }


def test_an_entry_point_leads_to_a_package_that_can_be_imported(plugin: Member) -> None:
    (point,) = entry_points(group="modgate.v1", name=plugin.folder.name)

    assert point.load().__doc__


def test_a_member_is_installed_from_this_checkout(member: Member) -> None:
    assert distribution(member.name).version == member.project["version"]


def test_all_members_ask_for_the_same_python(member: Member, core: Member) -> None:
    assert member.project["requires-python"] == core.project["requires-python"] == ">=3.11"


def test_the_command_takes_the_pythons_that_the_lock_is_for(root: Path) -> None:
    [asked] = re.findall(r"--python 'cpython(\S+)'", (root / "dev").read_text())

    assert list(SpecifierSet(asked).filter(f"3.{minor}" for minor in range(30))) == PYTHONS


def test_a_plugin_accepts_the_core_beside_it_and_not_the_next_minor(
    plugin: Member, core: Member
) -> None:
    (asked,) = [r for r in map(Requirement, plugin.project["dependencies"]) if r.name == "modgate"]
    major, minor, *_ = map(int, core.project["version"].split("."))

    assert asked.specifier.contains(core.project["version"])
    assert not asked.specifier.contains(f"{major}.{minor + 1}.0")


def test_a_plugin_asks_the_core_only_for_extras_that_exist(plugin: Member, core: Member) -> None:
    asked = {
        extra
        for r in map(Requirement, plugin.requirements())
        if r.name == "modgate"
        for extra in r.extras
    }

    assert asked <= set(core.project["optional-dependencies"])


def test_every_plugin_can_bring_a_local_model(plugin: Member) -> None:
    assert plugin.project["optional-dependencies"]["local"]


def test_no_plugin_depends_on_another(plugin: Member) -> None:
    assert [
        r for r in map(Requirement, plugin.requirements()) if r.name.startswith("modgate-")
    ] == []


def test_only_an_extra_named_codecs_brings_the_gpl_wheel(member: Member) -> None:
    extras = {"": member.project["dependencies"], **member.project.get("optional-dependencies", {})}
    bringing = {
        extra
        for extra, lines in extras.items()
        for r in map(Requirement, lines)
        if r.name == "av" or "codecs" in r.extras
    }

    assert bringing <= {"codecs"}


def test_the_lock_holds_a_version_that_each_member_accepts(
    member: Member, locked: dict[str, str]
) -> None:
    here = default_environment()
    asked = [r for r in map(Requirement, member.requirements()) if not r.name.startswith("modgate")]
    outside = [
        str(r)
        for r in asked
        if (r.marker is None or r.marker.evaluate(dict(here)))
        and not r.specifier.contains(
            locked.get(canonicalize_name(r.name), "none"), prereleases=True
        )
    ]

    assert outside == []


def test_every_entry_of_the_lock_has_a_hash(lock: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", lock.strip())

    assert len(entries) == len(LOCKED.findall(lock)) > 50
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_brings_no_member_and_nothing_huge(locked: dict[str, str]) -> None:
    assert [
        name for name in locked if name.startswith(("modgate", "torch", "nvidia-", "cuda"))
    ] == []


def test_no_lock_holds_an_address(tracked: list[Path], root: Path) -> None:
    names = {
        "requirements.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "uv.lock",
    }
    locks = [file for file in tracked if file.name in names] or [root / "requirements.lock"]

    assert [
        str(file) for file in locks if re.search(r"://|^-|@ |\bfile:", file.read_text(), re.M)
    ] == []
