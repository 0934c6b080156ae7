"""The wheels work where nothing but their own dependencies is installed, and no checkout is near.

Nothing is downloaded: the build backend is in the lock, and the dependencies are lent by the
environment that runs the tests, each distribution by itself, so that a missing one is missed.
"""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Member

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints that knows nothing of this shell: no PYTHONPATH, no folder of ours."""
    result = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def build(folder: Path, kind: str, to: Path) -> Path:
    before = set(to.iterdir())
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", to, cwd=folder)
    (made,) = set(to.iterdir()) - before
    return made


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def closure(asked: Iterable[Requirement], found: dict[str, Distribution]) -> None:
    """Adds every distribution that the requirements need, members of the workspace apart."""
    for requirement in asked:
        for extra in ["", *requirement.extras]:
            key = f"{requirement.name}[{extra}]"
            if key in found or requirement.name.startswith("modgate-"):
                continue
            found[key] = distribution(requirement.name)
            lines = map(Requirement, found[key].requires or ())
            closure([r for r in lines if wanted(r, extra)], found)


def wanted(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return extra == ""
    return requirement.marker.evaluate({"extra": extra})


def lend(dist: Distribution, to: Path) -> None:
    """Links what a distribution installed into another site-packages folder."""
    for top in {file.parts[0] for file in dist.files or () if file.parts[0] != ".."}:
        if not (to / top).exists() and top != "__pycache__":
            (to / top).symlink_to(str(dist.locate_file(top)))


@pytest.fixture(scope="module")
def wheels(
    core: Member,
    plugins: list[Member],
    examples: list[Member],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {m.name: build(m.folder, "wheel", folder) for m in (core, *plugins, *examples)}


def install(members: list[Member], wheels: dict[str, Path], folder: Path) -> Path:
    """Makes an environment of some wheels and what these ask for, no more; gives its bin folder."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    found: dict[str, Distribution] = {}
    for member in members:
        closure(map(Requirement, member.project["dependencies"]), found)
    for dist in found.values():
        if dist.name != "modgate":
            lend(dist, site)
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", folder / "bin/python", "install"]
    chosen = [wheels[member.name] for member in members]
    run(*pip, "--no-index", "--no-deps", "--no-compile", *chosen, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def bare(wheels: dict[str, Path], core: Member, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install([core], wheels, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def full(
    wheels: dict[str, Path],
    core: Member,
    plugins: list[Member],
    examples: list[Member],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return install([core, *plugins, *examples], wheels, tmp_path_factory.mktemp("full"))


def test_a_wheel_holds_its_package_and_nothing_else(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        tops = {entry.split("/")[0] for entry in names(wheel)}
        package, dist_info = sorted(tops, key=lambda top: top.endswith(".dist-info"))

        assert package.replace("_", "-") == name
        assert dist_info.endswith(".dist-info")


def test_a_wheel_tells_type_checkers_that_it_is_typed(wheels: dict[str, Path]) -> None:
    untyped = [
        wheel.name
        for wheel in wheels.values()
        if not any(n.endswith("py.typed") for n in names(wheel))
    ]

    assert untyped == []


def test_the_source_archive_makes_the_same_wheel(
    wheels: dict[str, Path], core: Member, tmp_path: Path
) -> None:
    archive = build(core.folder, "sdist", tmp_path)
    run("tar", "-xf", archive, cwd=tmp_path)
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    (tmp_path / "wheel").mkdir()

    assert names(build(unpacked, "wheel", tmp_path / "wheel")) == names(wheels["modgate"])


def test_the_licence_is_in_the_core_wheel(wheels: dict[str, Path]) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in names(wheels["modgate"]))


def test_plugins_are_found_and_imported_from_the_wheels(
    full: Path, plugins: list[Member], examples: list[Member], tmp_path: Path
) -> None:
    script = (
        "from importlib.metadata import entry_points\n"
        "for point in entry_points(group='modgate.v1'): print(point.name, point.load().__file__)"
    )
    lines = run(full / "python", "-I", "-c", script, cwd=tmp_path).splitlines()
    files = dict(line.split(" ", 1) for line in lines)

    assert set(files) == {
        name for m in (*plugins, *examples) for name in m.project["entry-points"]["modgate.v1"]
    }
    assert [f for f in files.values() if not Path(f).is_relative_to(full.parent)] == []


def test_the_core_needs_nothing_but_its_own_dependencies(
    bare: Path, core: Member, tmp_path: Path
) -> None:
    """Imports every module but those for an extra: the test kit, and what kit/ has for plugins."""
    package = core.source / "modgate"
    modules = sorted({file.relative_to(package).parts[0] for file in core.files()})
    code = "\n".join(
        f"import modgate.{module.removesuffix('.py')}"
        for module in modules
        if module not in {"__init__.py", "__main__.py", "testing", "kit"}
    )

    assert run(bare / "python", "-I", "-c", code, cwd=tmp_path) == ""
