"""Rules of what a modality declares: names, units, endpoints, config, samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from pydantic import BaseModel, ValidationError

from modgate.api.policy import AnyPolicy
from modgate.api.scorer import AnyAdviser
from modgate.host.check import check
from modgate.host.installed import Origin
from modgate.host.load import few
from modgate.meter import MEASURED_BY
from modgate.problems import PluginError
from modgate.testing.suite import Suite, played, require

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
UNKNOWN_KEY = "no_such_key_of_any_plugin"


class DeclaredRules(Suite):
    """What the host checks, too, and what it cannot."""

    def test_names_are_well_formed(self, tmp_path: Path) -> None:
        """What the host refuses at start: names, units, numbers and paths that do not fit."""
        kind = self.modality
        origin = Origin(name=kind.name, distribution=kind.__module__, version="under test")
        with self.rig(tmp_path) as rig:
            paths = [(kind.name, endpoint) for endpoint in few(rig.modality.endpoints())]
            try:
                check({kind.name: rig.modality}, {kind.name: origin}, paths, rig.surfaces)
            except PluginError as error:
                require(False, str(error))
        require(bool(paths), "a modality without endpoints can never be asked")

    def test_defaults_build_and_unknown_keys_are_refused(self) -> None:
        """An empty section is legal, and a typing mistake in one is not ignored."""
        kind = self.modality
        kind(kind.config_type.model_validate({}))
        for checked in (kind.config_type, kind.model_type):
            strict(checked, {})

    def test_units_say_what_they_count(self) -> None:
        """There are some, and each says what it counts; the rest is the host's to refuse."""
        kind = self.modality
        require(bool(kind.units), "a modality must declare what it is metered in")
        for unit in kind.units:
            meaning: object = unit.meaning
            says = isinstance(meaning, str) and bool(meaning.strip())
            require(says, f"{unit.name} does not say what it counts")

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
        """Sizes, reserves and bills are in the modality's own units, measured by whom there is."""
        with self.rig(tmp_path) as rig:
            for label, sample in self.samples():
                drive = rig.drive(rig.plan(sample))
                self._known(f"{label}: the reserve", drive.reserve)
                whole = played(rig, sample)
                self._known(f"{label}: the usage", whole.usage.units)
                by = whole.usage.by
                require(by in MEASURED_BY, f"{label}: the usage is measured by {by!r}")
                for call in whole.calls:
                    if call.model is None:
                        self._known(f"{label}: the size of a call", call.size)
                    else:
                        counted = call.reply == "whole"
                        require(counted, f"{label}: a call of another model has no whole reply")


def strict(config: type[BaseModel], section: Mapping[str, object]) -> None:
    """A key that nobody knows is refused, and what was read cannot be changed."""
    try:
        config.model_validate({**section, UNKNOWN_KEY: 1})
    except ValidationError:
        frozen = bool(config.model_config.get("frozen"))
        require(frozen, f"{config.__name__} can be changed: give it frozen=True")
    else:
        require(False, f"{config.__name__} takes unknown keys: give it extra='forbid'")


def sayable(
    what: str, kind: type[AnyPolicy | AnyAdviser], section: Mapping[str, object], taken: Set[str]
) -> None:
    """A kind that a section puts to work has a name, time to answer, and keys of its own."""
    require(bool(NAME.fullmatch(kind.name)), f"{kind.name!r} is no name of a {what}")
    require(kind.budget_s > 0, "an answer takes some time: budget_s must be above 0")
    shared = sorted(kind.config_type.model_fields.keys() & taken)
    require(not shared, f"every {what}'s section has the keys {shared}; call yours otherwise")
    strict(kind.config_type, section)
