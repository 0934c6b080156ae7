"""What the import contracts in pyproject.toml cannot say, and that they are there to be broken.

The floors themselves are import-linter's: `lint-imports`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Member

PUBLIC = ("modgate.plugin", "modgate.kit", "modgate.testing")
# A plugin is handed what it needs and does no I/O; only its engine.py, which runs in a process of
# its own, may do as it likes.
WORLD = (
    *("aiohttp", "asyncio", "ftplib", "http.client", "http.server", "httpx", "multiprocessing"),
    *("requests", "selectors", "smtplib", "socket", "socketserver", "ssl", "subprocess"),
    *("threading", "urllib.request", "urllib3"),
)


def imports(source: str) -> Iterator[str]:
    """Every module that a file may import by name, lazily or not; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level
        elif isinstance(node, ast.Call) and (
            (isinstance(node.func, ast.Name) and node.func.id == "import_module")
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "import_module")
        ):
            yield ast.unparse(node.args[0]).strip("'\"")


def inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def private(source: str, own: str) -> list[str]:
    """What a plugin imports of modgate, or of other plugins, that is not public."""
    public = (*PUBLIC, own)
    return [
        name
        for name in imports(source)
        if name.startswith(".")
        or (name.split(".")[0].startswith("modgate") and not inside(name, public))
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from modgate.plugin import Call", []),
        ("import modgate.kit.sse", []),
        ("from modgate import plugin", []),
        ("from modgate_x.shape import shape", []),
        ("import modgate", ["modgate"]),
        ("from modgate import errors", ["modgate.errors"]),
        ("from modgate.pluginish import x", ["modgate.pluginish.x"]),
        ("def f():\n    from modgate.http.egress import Reply", ["modgate.http.egress.Reply"]),
        ("import modgate_llm.relay", ["modgate_llm.relay"]),
        ("import importlib\nimportlib.import_module('modgate.fleet')", ["modgate.fleet"]),
        ("from . import relay", ["."]),
    ],
)
def test_a_private_import_is_seen(source: str, found: list[str]) -> None:
    assert private(source, "modgate_x") == found


def test_a_plugin_imports_only_what_is_public(
    plugins: list[Member], examples: list[Member]
) -> None:
    found = {
        str(file): names
        for member in (*plugins, *examples)
        for file in member.files()
        if (names := private(file.read_text(), packages(member)))
    }

    assert found == {}


def packages(member: Member) -> str:
    """The one package of a plugin, as its entry point names it."""
    (module,) = member.project["entry-points"]["modgate.v1"].values()
    return str(module).split(".")[0]


def test_a_plugin_does_no_io(plugins: list[Member], examples: list[Member]) -> None:
    found = {
        f"{file}: {name}"
        for member in (*plugins, *examples)
        for file in member.files()
        if file.stem != "engine" and "engine" not in file.parent.name
        for name in imports(file.read_text())
        if inside(name, WORLD)
    }

    assert found == set()


def test_what_runs_in_a_decoder_process_imports_neither_modgate_nor_aiohttp(
    sources: list[Path],
) -> None:
    found = {
        f"{file}: {name}"
        for file in sources
        if file.name == "decode.py" and "plugins" in file.parts
        for name in imports(file.read_text())
        if name.split(".")[0] in {"modgate", "aiohttp", "pydantic"}
    }

    assert found == set()


def test_only_what_reads_a_configuration_and_cli_know_its_types(core: Member) -> None:
    package = core.source / "modgate"
    allowed = {"config", "snapshot", "gateway", "cli"}
    found = {
        f"{file}: {name}"
        for file in core.files()
        if file.relative_to(package).parts[0].removesuffix(".py") not in allowed
        for name in imports(file.read_text())
        if inside(name, ("modgate.config",))
    }

    assert found == set()


def test_importing_the_public_api_brings_no_server_and_no_decoder() -> None:
    heavy = ("aiohttp", "av", "click", "numpy", "onnxruntime", "opentelemetry", "PIL", "soundfile")
    script = f"import sys, modgate.plugin; print(*sys.modules.keys() & {set(heavy)})"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert result.stdout.split() == []


def test_a_gateway_with_every_plugin_imports_nothing_that_only_decoders_and_engines_need() -> None:
    """Numpy alone is a twelfth of its start, and 14 MB."""
    heavy = ("av", "numpy", "onnxruntime", "opentelemetry", "PIL", "pypdfium2", "soundfile")
    script = (
        "import sys, modgate.server.run; from modgate.host.installed import find\n"
        "for _, point in find().plugins.values(): point.load()\n"
        f"print(*sys.modules.keys() & {set(heavy)})"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert result.stdout.split() == []


@pytest.fixture
def skeleton(root: Path, tmp_path: Path) -> Path:
    """An empty tree with a package on each floor, and the contracts."""
    folders = ["modgate", *(f"modgate/{name}" for name in ("api", "kit", "limits", "fleet"))]
    folders += [f"modgate_{folder.name}" for folder in root.glob("plugins/*/")]
    for folder in folders:
        plant(tmp_path / folder / "__init__.py")
    for module in ["units", "plugin"]:
        plant(tmp_path / f"modgate/{module}.py")
    (tmp_path / "pyproject.toml").write_text((root / "pyproject.toml").read_text())
    return tmp_path


def plant(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def broken(skeleton: Path) -> list[str]:
    """The contracts that the tree breaks, by name."""
    lint = "import importlinter.cli; importlinter.cli.lint_imports_command()"
    command = [sys.executable, "-c", lint, "--no-cache", "--no-logo"]
    result = subprocess.run(command, cwd=skeleton, capture_output=True, text=True, check=False)
    assert "kept," in result.stdout, result.stdout + result.stderr
    return re.findall("^(.*) BROKEN$", result.stdout, re.MULTILINE)


def test_the_contracts_hold_for_a_tree_without_a_fault(skeleton: Path) -> None:
    assert broken(skeleton) == []


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("modgate/units.py", "import modgate.plugin", "A floor imports lower floors only"),
        ("modgate/api/planted.py", "import modgate.kit", "A floor imports lower floors only"),
        ("modgate/limits/planted.py", "import modgate.fleet", "A floor imports lower floors only"),
        ("modgate/helpers/__init__.py", "", "A floor imports lower floors only"),
        ("modgate_llm/planted.py", "import modgate.units", "Plugins import only modgate.plugin"),
        ("modgate_llm/planted.py", "import modgate_vlm", "A plugin never imports another"),
    ],
)
def test_a_planted_fault_breaks_the_contract_that_forbids_it(
    module: str, line: str, contract: str, skeleton: Path
) -> None:
    plant(skeleton / module, line)
    (name,) = broken(skeleton)

    assert name.startswith(contract)
