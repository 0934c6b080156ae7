"""A new plugin from the files in `template`: a distribution of its own that keeps its contract."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template

TEMPLATE = Path(__file__).parent / "template"
_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MODALITY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MODALITY_AT_MOST = 31  # characters of an entry point's name
SUFFIX = ".txt"  # so that no checker takes a template for a source


class Unfit(ValueError):
    """A name cannot be taken, or the folder cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the templates are filled with."""

    distribution: str
    modality: str

    def words(self) -> dict[str, str]:
        """By the names that stand in the templates."""
        major, minor = version("modgate").split(".")[:2]
        return {
            "distribution": self.distribution,
            "package": self.distribution.replace("-", "_"),
            "modality": self.modality,
            "Modality": "".join(part.capitalize() for part in self.modality.split("_")),
            "family": f"{self.modality}-engine".replace("_", "-"),
            "requires": f">={major}.{minor},<{major}.{int(minor) + 1}",
        }


def names(distribution: str, modality: str | None, taken: Container[str]) -> Names:
    """Names that fit; Unfit says which does not, and why.  `taken`: modalities and paths."""
    chosen = modality or distribution.rpartition("-")[2]
    if not _DISTRIBUTION.fullmatch(distribution):
        raise Unfit(f"{distribution!r} is no name: words in lower case, with - between them")
    if not _MODALITY.fullmatch(chosen) or len(chosen) > _MODALITY_AT_MOST:
        raise Unfit(f"{chosen!r} is no modality: words in lower case, with _; give --modality")
    package = distribution.replace("-", "_")
    if keyword.iskeyword(package) or package == "modgate":
        raise Unfit(f"no package can be called {package!r}; choose another name")
    if chosen in taken or f"/v1/{chosen}" in taken:
        raise Unfit(f"the modality {chosen!r} or its path is taken; give another by --modality")
    return Names(distribution=distribution, modality=chosen)


def made(chosen: Names) -> Iterator[tuple[str, str]]:
    """Every file of the plugin: its path, and its text."""
    words = chosen.words()
    for path in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        parts = path.relative_to(TEMPLATE).as_posix().removesuffix(SUFFIX).split("/")
        place = "/".join(words.get(part, part) for part in parts)
        yield place, Template(path.read_text()).substitute(words)


def write(chosen: Names, folder: Path) -> list[str]:
    """Write it into a new or empty folder; the paths that were written.  Unfit when it is full."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Unfit(f"{folder} is not empty")
    written = []
    for place, text in made(chosen):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(place)
    return written
