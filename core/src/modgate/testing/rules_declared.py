"""Rules of what a modality declares: names, units, endpoints, config, samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from modgate.testing.suite import Suite, played, require
from modgate.units import EVERYWHERE

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
PATH = re.compile(r"(/[a-zA-Z0-9._~-]+)+")
RESERVED = ("/health", "/v1/models", "/v1/usage", "/openapi.json", "/metrics", "/admin")
UNKNOWN_KEY = "no_such_key_of_any_plugin"


class DeclaredRules(Suite):
    """What the host checks, too, and what it cannot."""

    def test_names_are_well_formed(self, tmp_path: Path) -> None:
        """Names of the modality and its units are lower case words; paths are plain and free."""
        kind = self.modality
        named = [kind.name, *(unit.name for unit in kind.units)]
        named += [unit.shown for unit in kind.units if unit.shown]
        for name in named:
            require(bool(NAME.fullmatch(name)), f"{name!r} is no name: words in lower case, with _")
        with self.rig(tmp_path) as rig:
            paths = [endpoint.path for endpoint in rig.modality.endpoints()]
            known = rig.surfaces
            spoken = {name for each in rig.endpoints.values() for name in each.surfaces}
        for path in paths:
            require(bool(PATH.fullmatch(path)), f"{path!r} is no path of an endpoint")
            taken = [name for name in RESERVED if path == name or path.startswith(name + "/")]
            require(not taken, f"{path} belongs to the core")
        require(bool(paths), "a modality without endpoints can never be asked")
        require(len(set(paths)) == len(paths), f"a path is declared twice: {sorted(paths)}")
        require(spoken <= known.keys(), f"unknown surfaces: {sorted(spoken - known.keys())}")

    def test_defaults_build_and_unknown_keys_are_refused(self) -> None:
        """An empty section is legal, and a typing mistake in one is not ignored."""
        kind = self.modality
        kind(kind.config_type.model_validate({}))
        for checked in (kind.config_type, kind.model_type):
            require(
                refuses(checked, {UNKNOWN_KEY: 1}),
                f"{checked.__name__} takes unknown keys: give it extra='forbid'",
            )
            require(
                bool(checked.model_config.get("frozen")),
                f"{checked.__name__} can be changed: give it frozen=True",
            )

    def test_units_are_declared_once_and_belong_together(self) -> None:
        """Parts name their whole; weights, targets and counts name units that exist."""
        kind = self.modality
        names = [unit.name for unit in kind.units]
        everywhere = {unit.name for unit in EVERYWHERE}
        require(bool(names), "a modality must declare what it is metered in")
        require(len(set(names)) == len(names), f"a unit is declared twice: {names}")
        require(not everywhere & set(names), "requests, bytes_in and bytes_out are the core's")
        for unit in kind.units:
            require(unit.scale >= 1, f"the scale of {unit.name} must be at least 1")
            require(bool(unit.meaning.strip()), f"{unit.name} does not say what it counts")
            whole = unit.part_of
            require(whole is None or whole in names, f"{unit.name} is part of nothing: {whole}")
        targets = [*kind.phases.values(), *kind.deadlines.values()]
        self._known("weights", kind.weights)
        self._known("gateway_counts", kind.gateway_counts)
        for target in targets:
            self._known("a target", target.per_unit)
        require(
            {"first_byte", "total"} <= kind.deadlines.keys(),
            "deadlines must have first_byte and total",
        )

    def _known(self, where: str, names: Iterable[str]) -> None:
        declared = {unit.name for unit in self.modality.units}
        unknown = sorted(set(names) - declared)
        require(not unknown, f"{where} names units that are not declared: {unknown}")

    def test_every_endpoint_has_a_sample_with_a_bill(self, tmp_path: Path) -> None:
        """What has no sample is checked by nothing."""
        with self.rig(tmp_path) as rig:
            sampled = {sample.path for _, sample in self.samples()}
            missing = sorted(rig.endpoints.keys() - sampled)
            require(not missing, f"endpoints without a sample: {missing}")
            for label, sample in self.samples():
                endpoint = rig.endpoint(sample)
                one = (sample.json is None) != (sample.form is None)
                require(one, f"{label} must have exactly one of json and form")
                fits = (endpoint.body == "form") == (sample.form is not None)
                require(fits, f"{label}: the endpoint takes a {endpoint.body} body")
                require(sample.usage is not None, f"{label} does not say its usage")

    def test_only_declared_units_are_used(self, tmp_path: Path) -> None:
        """Sizes, reserves and bills are in the modality's own units."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                drive = rig.drive(rig.plan(sample))
                self._known(f"{label}: the reserve", drive.reserve)
                whole = played(rig, sample)
                self._known(f"{label}: the usage", whole.usage.units)
                for call in whole.calls:
                    if call.model is None:
                        self._known(f"{label}: the size of a call", call.size)


def refuses(kind: type[BaseModel], section: Mapping[str, object]) -> bool:
    """Whether a section of this type may not say this."""
    try:
        kind.model_validate(section)
    except ValidationError:
        return True
    return False
