"""Which plugins are installed, without importing any."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version

from modgate.hookspecs import GROUP
from modgate.problems import PluginError

API = GROUP.removeprefix("modgate.v")
TO_INSTALL = (
    "a modality is a plugin: python -m pip install 'modgate-llm[local]', or vlm, asr, tts, ocr, "
    "embedding, rerank"
)
_GROUP = re.compile(r"modgate\.v(\d+)")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who a plugin is: `ocr (acme-ocr 1.0.0)`."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The entry points of our API by name; `newer`: plugins that need another API than this one."""

    plugins: Mapping[str, tuple[Origin, EntryPoint]] = field(default_factory=dict)
    newer: Mapping[str, str] = field(default_factory=dict)
    clashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@cache
def core() -> Origin:
    """Who brings what needs no plugin."""
    return Origin(name="core", distribution="modgate", version=version("modgate"))


def origin_of(point: EntryPoint) -> Origin:
    """Whose entry point it is."""
    if point.dist is None:
        return Origin(name=point.name, distribution="?", version="?")
    told = point.dist.metadata  # parsed anew each time that it is asked for
    return Origin(name=point.name, distribution=told["Name"], version=told["Version"])


def _all() -> list[EntryPoint]:
    """Every entry point of a group that may be ours.

    Groups are asked one by one, nothing is loaded.
    """
    found = entry_points()
    return [
        point
        for group in found.groups
        if _GROUP.fullmatch(group)
        for point in found.select(group=group)
    ]


def find(points: Iterable[EntryPoint] | None = None) -> Installed:
    """All installed plugins, sorted by name; nothing is imported."""
    found: dict[str, list[EntryPoint]] = {}
    newer: dict[str, str] = {}
    for point in _all() if points is None else points:
        group = _GROUP.fullmatch(point.group)
        if group is None:
            continue
        if point.group == GROUP:
            found.setdefault(point.name, []).append(point)
        else:
            whose = origin_of(point)
            told = f"take another version of {whose.distribution} than {whose.version}"
            newer[point.name] = f"needs API {group[1]}, and this modgate has API {API}: {told}"
    plugins, clashes = {}, {}
    for name, claims in sorted(found.items()):
        origins = [origin_of(claim) for claim in claims]
        if len(distributions := {origin.distribution for origin in origins}) > 1:
            clashes[name] = tuple(sorted(distributions))
        plugins[name] = (origins[0], claims[0])
    lone = {name: what for name, what in newer.items() if name not in plugins}
    return Installed(plugins=plugins, newer=lone, clashes=clashes)


def wanted(installed: Installed, names: Iterable[str]) -> list[tuple[Origin, EntryPoint]]:
    """The plugins of these names, in this order; PluginError for one that cannot be had."""
    chosen = []
    for name in names:
        if name in installed.clashes:
            claimed = " and ".join(installed.clashes[name])
            raise PluginError(name, f"is claimed by both {claimed}; uninstall one")
        if name not in installed.plugins:
            if name in installed.newer:
                raise PluginError(name, installed.newer[name])
            known = ", ".join(installed.plugins) or "none"
            raise PluginError(name, f"is not installed; installed: {known}")
        if not _NAME.fullmatch(name):
            raise PluginError(name, "has a bad name: a-z, 0-9 and _ only")
        chosen.append(installed.plugins[name])
    return chosen
