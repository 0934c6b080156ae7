"""What a local engine lacks, as the exact lines to run."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


def missing(plugin: str, modules: Iterable[str], files: Iterable[Path]) -> list[str]:
    """Lines for absent modules and data files; [] when all is there.  Nothing is imported."""
    lines = []
    if any(find_spec(name) is None for name in modules):
        lines.append(f"pip install 'modgate-{plugin}[local]'")
    if not all(path.is_file() for path in files):
        lines.append("modgate models install")
    return lines
