"""Whether what plugins declared fits together: names, units, numbers, endpoints, surfaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from unicodedata import category

from modgate.api.modality import AnyModality, Endpoint
from modgate.api.model import EVERY_MODEL, ModelFacts, StandIn
from modgate.api.select import PHASES
from modgate.api.surface import Surface
from modgate.host.blame import blamed
from modgate.host.installed import Origin
from modgate.problems import PluginError
from modgate.units import EVERYWHERE

RESERVED = frozenset({"health", "admin", "metrics", "models", "v1", "v2", "requests", "openapi"})
RESERVED_PATHS = (
    *("/v1/models", "/v1/usage", "/health", "/admin", "/metrics", "/openapi.json"),
    "/.well-known",
)
OURS = frozenset(unit.name for unit in EVERYWHERE)
BODIES: tuple[str, ...] = ("json", "form")
NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, halves of characters, ends of lines
KINDS: tuple[str, ...] = ("unary", "stream")
_PATH = re.compile(r"(/[\w.~@:-]+)+", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
GOOD_PATH = (
    "a good one is as /v1/detect, of letters, digits and .-_~@:, without a slash at its end, "
    f"and does not begin with {', '.join(RESERVED_PATHS)}"
)
GOOD = "a good one is of a-z, 0-9 and _, begins with a letter and has at most 31"


def check(
    modalities: Mapping[str, AnyModality],
    owners: Mapping[str, Origin],
    endpoints: Sequence[tuple[str, Endpoint]],
    surfaces: Mapping[str, Surface],
) -> None:
    """Raise PluginError for the first thing that does not fit."""
    for name, modality in modalities.items():
        for look in (_names, _units, _shown, _numbers, _targets):
            _refuse(owners[name], f"what {name} declares", look(modality))
    seen: set[tuple[str, str]] = set()
    kinds: dict[str, str] = {}
    for name, endpoint in endpoints:
        _refuse(owners[name], f"an endpoint of {name}", _endpoint(name, endpoint, surfaces))
        if (name, endpoint.path) in seen:
            raise PluginError(str(owners[name]), f"declares the path {endpoint.path} twice")
        seen.add((name, endpoint.path))
        if kinds.setdefault(endpoint.path, endpoint.body) != endpoint.body:
            text = f"wants {endpoint.body} bodies on {endpoint.path}, which others use differently"
            raise PluginError(str(owners[name]), text)
    prefixed = {f"/{name}{path}": name for name, path in seen}
    for name, endpoint in endpoints:
        if (path := endpoint.path) in prefixed:
            text = f"claims {path}, where an endpoint of {prefixed[path]} stands under its prefix"
            raise PluginError(str(owners[name]), text)


def _refuse(origin: Origin, what: str, complaints: Iterator[str]) -> None:
    """The first complaint; or what was raised while it was looked for, for types lie, too."""
    with blamed(origin, what):
        for complaint in complaints:
            raise PluginError(str(origin), complaint)


def _names(modality: AnyModality) -> Iterator[str]:
    if not _NAME.fullmatch(modality.name) or modality.name in RESERVED:
        yield f"has a modality of a reserved or bad name: {modality.name}; {GOOD}"
    if not issubclass(modality.model_type, ModelFacts):
        yield f"has a model_type of {modality.name} that is no ModelFacts"
    for fact in sorted(modality.model_type.model_fields.keys() & EVERY_MODEL):
        yield f"has a fact that no section can say, for every model has '{fact}': call it otherwise"
    rule = modality.stand_in or StandIn()
    for fact in (*rule.said, *rule.equal):
        if fact not in modality.model_type.model_fields:
            yield f"lets models stand in by a fact that its models do not have: {fact}"


def _units(modality: AnyModality) -> Iterator[str]:
    names = [unit.name for unit in modality.units]
    for name in names:
        if not _NAME.fullmatch(name) or name in OURS or names.count(name) > 1:
            yield f"has a bad, reserved or repeated unit: {name}; {GOOD}"
    whole = [unit.part_of for unit in modality.units if unit.part_of is not None]
    said = {
        "weights": modality.weights,
        "gateway_counts": modality.gateway_counts,
        "part_of": whole,
    }
    for where, spoken in said.items():
        for name in spoken:
            if name not in names:
                yield f"speaks of a unit that it does not declare: {name}, in '{where}'"
    for unit in modality.units:
        if unit.part_of is not None and unit.name in whole:
            yield f"has a unit that is a part and has parts: {unit.name}"


def _shown(modality: AnyModality) -> Iterator[str]:
    public = [unit.public for unit in modality.units]
    for unit in modality.units:
        shown = unit.public
        if not _NAME.fullmatch(shown) or shown in OURS or public.count(shown) > 1:
            yield f"shows a unit by a bad or taken name: {shown}"
        if unit.scale != int(unit.scale) or unit.scale < 1:
            yield f"has a unit whose scale is no whole number of at least 1: {unit.name}"


def _numbers(modality: AnyModality) -> Iterator[str]:
    for name, weight in modality.weights.items():
        if not isfinite(weight) or weight < 0:
            yield f"has a weight of {name} that is no number of 0 or more"
    for phase in ("first_byte", "total"):
        if phase not in modality.deadlines:
            yield f"declares no deadline for the phase {phase}"


def _targets(modality: AnyModality) -> Iterator[str]:
    names = {unit.name for unit in modality.units}
    for phase in modality.serial - set(PHASES):
        yield f"declares an unknown phase: {phase}; known: {', '.join(PHASES)}"
    for phase, target in (*modality.deadlines.items(), *modality.phases.items()):
        if phase not in PHASES:
            yield f"declares an unknown phase: {phase}; known: {', '.join(PHASES)}"
        if not target.per_unit.keys() <= names:
            yield f"declares a time for the phase {phase} by a unit that is not its own"
        if not all(isfinite(s) and s >= 0 for s in (target.base_s, *target.per_unit.values())):
            yield f"declares a time for the phase {phase} that is no number of 0 or more seconds"
        if not 0 < target.objective < 1:
            yield f"declares an objective for the phase {phase} that is not between 0 and 1"


def _endpoint(name: str, endpoint: Endpoint, surfaces: Mapping[str, Surface]) -> Iterator[str]:
    path, batch = endpoint.path, endpoint.batch
    if not _PATH.fullmatch(path) or path.startswith(RESERVED_PATHS):
        yield f"claims a reserved or bad path: {path}; {GOOD_PATH}"
    for surface in [each for each in endpoint.surfaces if each not in surfaces]:
        known = ", ".join(sorted(surfaces))
        yield f"names the surface '{surface}' for {path}; known: {known}"
    if not endpoint.surfaces:
        yield f"names no surface for {path} of {name}"
    if endpoint.body not in BODIES or endpoint.kind not in KINDS:
        yield f"wants another body than {BODIES}, or is of another kind than {KINDS}: {path}"
    if type(endpoint.at_most) is not int or endpoint.at_most < 1 or not callable(endpoint.shape):
        yield f"has no shape for {path}, or no room for a body"
    said: tuple[object, ...] = endpoint.summary, endpoint.operation
    if not all(isinstance(text, str) and _is_line(text) for text in said):
        yield f"names {path} by no text of one line: summary, operation"
    if batch is not None and batch.most < 1:
        yield f"has batches of nothing for {path}"


def _is_line(text: str) -> bool:
    """Whether a row and a log can say it; `isprintable` refuses blanks that other languages use."""
    return not any(category(each) in NO_TEXT for each in text)
