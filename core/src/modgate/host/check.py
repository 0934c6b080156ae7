"""Whether what plugins declared fits together: names, units, endpoints, surfaces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from modgate.api.modality import AnyModality, Endpoint
from modgate.api.surface import Surface
from modgate.errors import PluginError
from modgate.host.installed import Origin
from modgate.units import EVERYWHERE

RESERVED = frozenset({"health", "admin", "metrics", "models", "v1", "v2", "requests", "openapi"})
RESERVED_PATHS = ("/v1/models", "/health", "/admin", "/metrics", "/openapi.json")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


def check(
    modalities: Mapping[str, AnyModality],
    owners: Mapping[str, Origin],
    endpoints: Sequence[tuple[str, Endpoint]],
    surfaces: Mapping[str, Surface],
) -> None:
    """Raise PluginError for the first thing that does not fit."""
    for name, modality in modalities.items():
        _names(owners[name], modality)
        _units(owners[name], modality)
    seen: dict[tuple[str, str], str] = {}
    kinds: dict[str, str] = {}
    for name, endpoint in endpoints:
        _endpoint(owners[name], name, endpoint, surfaces)
        if (name, endpoint.path) in seen:
            raise PluginError(str(owners[name]), f"declares the path {endpoint.path} twice")
        seen[name, endpoint.path] = name
        if kinds.setdefault(endpoint.path, endpoint.body) != endpoint.body:
            text = f"wants {endpoint.body} bodies on {endpoint.path}, which others use differently"
            raise PluginError(str(owners[name]), text)


def _names(origin: Origin, modality: AnyModality) -> None:
    if not _NAME.fullmatch(modality.name) or modality.name in RESERVED:
        raise PluginError(str(origin), f"has a modality of a reserved or bad name: {modality.name}")


def _units(origin: Origin, modality: AnyModality) -> None:
    names = [unit.name for unit in modality.units]
    taken = {unit.name for unit in EVERYWHERE}
    for name in names:
        if not _NAME.fullmatch(name) or name in taken or names.count(name) > 1:
            raise PluginError(str(origin), f"has a bad, reserved or repeated unit: {name}")
    whole = [unit.part_of for unit in modality.units if unit.part_of is not None]
    for name in (*modality.weights, *modality.gateway_counts, *whole):
        if name not in names:
            raise PluginError(str(origin), f"speaks of a unit that it does not declare: {name}")
    for phase in ("first_byte", "total"):
        if phase not in modality.deadlines:
            raise PluginError(str(origin), f"declares no deadline for the phase {phase}")


def _endpoint(
    origin: Origin, name: str, endpoint: Endpoint, surfaces: Mapping[str, Surface]
) -> None:
    path = endpoint.path
    if not path.startswith("/") or path.endswith("/") or path.startswith(RESERVED_PATHS):
        raise PluginError(str(origin), f"claims a reserved or bad path: {path}")
    for surface in endpoint.surfaces:
        if surface not in surfaces:
            known = ", ".join(sorted(surfaces))
            raise PluginError(str(origin), f"names the surface '{surface}'; known: {known}")
    if not endpoint.surfaces:
        raise PluginError(str(origin), f"names no surface for {path} of {name}")
