"""Linking: what the file names is found, in the types of the mechanisms; mistakes are collected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from modgate.api.authenticator import AnyAuthenticator, ConfiguredAuthenticator
from modgate.api.discover import ConfiguredDiscoverer
from modgate.api.issuer import Issuer, Signing
from modgate.api.modality import AnyModality
from modgate.api.model import Model, ModelFacts
from modgate.api.policy import AnyPolicy, ConfiguredPolicy
from modgate.api.price import Book
from modgate.api.scorer import AnyAdviser, ConfiguredAdviser
from modgate.api.select import PHASES, Backend, Fallback, Phases, Target, Targets
from modgate.api.vitals import Exporter
from modgate.config.guess import did_you_mean
from modgate.config.link_auth import AuthLinker
from modgate.config.link_engines import EnginesLinker
from modgate.config.link_fallbacks import FallbacksLinker
from modgate.config.link_kinds import KindsLinker, linked_policies, linked_scorers
from modgate.config.link_ledger import SinkOf, linked_sinks
from modgate.config.link_peers import link_peers
from modgate.config.link_prices import PricesLinker
from modgate.config.link_telemetry import linked_exporters
from modgate.config.link_tenants import GrantLinker, Tenant
from modgate.config.mistakes import Mistakes
from modgate.config.model_names import model_names
from modgate.config.schema import File, ModelSection
from modgate.config.schema_select import Step
from modgate.config.section import parsed
from modgate.config.values import TargetText, duration
from modgate.problems import ConfigError
from modgate.units import UnitTable

DEADLINES = ("first_byte", "total", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What plugins brought, as far as a file may refer to it.

    `owners`: modality -> plugin.  `local`: models of local engines, which no file declares.
    `metered`: families of engines whose metrics can be read.
    """

    modalities: Mapping[str, AnyModality]
    families: Iterable[tuple[str, str]]
    units: UnitTable
    owners: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, type[AnyPolicy]] = field(default_factory=dict)
    scorers: Mapping[str, type[AnyAdviser]] = field(default_factory=dict)
    authenticators: Mapping[str, type[AnyAuthenticator]] = field(default_factory=dict)
    local: Mapping[str, Model] = field(default_factory=dict)
    sinks: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    discoverers: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    metered: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The file's meaning.  `file` holds the sections that mechanisms take their numbers from."""

    file: File
    models: Mapping[str, Model]
    backends: tuple[Backend, ...]
    tenants: tuple[Tenant, ...]
    deadlines: Mapping[str, Phases]
    targets: Targets
    chains: Mapping[str, tuple[Fallback, ...]] = field(default_factory=dict)
    unmet: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    issuers: tuple[Issuer, ...] = ()
    signing: Signing | None = None
    authenticators: tuple[ConfiguredAuthenticator, ...] = ()
    books: tuple[Book, ...] = ()
    policies: tuple[ConfiguredPolicy, ...] = ()
    scorers: tuple[ConfiguredAdviser, ...] = ()
    sinks: tuple[SinkOf, ...] = ()
    discoverers: tuple[ConfiguredDiscoverer, ...] = ()
    exporters: tuple[Exporter, ...] = ()


class Linker:
    """Links one file; `mistakes` gets everything that does not fit."""

    def __init__(self, file: File, known: Known, mistakes: Mistakes) -> None:
        self._file = file
        self._known = known
        self._mistakes = mistakes
        self._wrong, self._missing = mistakes.wrong, mistakes.missing

    def link(self) -> Linked:
        """All of it that is right."""
        mistakes, models = self._mistakes, self._models()
        engines = EnginesLinker(self._file, self._known, models, mistakes)
        backends, discoverers = engines.backends(), engines.discoverers()
        exporters = linked_exporters(self._file, mistakes)
        self._regions()
        served = {**self._known.local, **models}
        grants = GrantLinker(self._file, served, self._known.units, mistakes)
        tenants = tuple(grants.tenant(*item) for item in self._file.tenant.items())
        for name, section in self._file.tenant.items():
            if section.keys is not None:
                self._peppered(("tenant", name, "keys"))
        if self._file.auth.store is not None:  # each gateway on it would make a pepper of its own
            self._peppered(("auth", "store"))
        deadlines = self._deadlines()
        targets = self._targets()
        fallbacks = FallbacksLinker(self._file, self._known.modalities, models, mistakes)
        chains, unmet = fallbacks.chains(), fallbacks.unmet()
        fallbacks.engines()
        books = PricesLinker(self._known.units, self._file, mistakes).link()
        policies, scorers = self._policies(models), self._scorers(models)
        auth = AuthLinker(self._file, self._known.authenticators, mistakes)
        issuers, signing = auth.issuers(), auth.signing()
        authenticators = tuple(auth.authenticators())
        ledger, here = self._file.ledger, self._file.state.region
        sinks = linked_sinks(ledger, here, self._known.sinks, mistakes)
        self._listeners()
        link_peers(self._file.peers, mistakes)
        return Linked(
            file=self._file,
            models=models,
            backends=backends,
            discoverers=fallbacks.bound(discoverers),
            exporters=exporters,
            tenants=tenants,
            deadlines=deadlines,
            targets=targets,
            chains=chains,
            unmet=unmet,
            issuers=issuers,
            signing=signing,
            authenticators=authenticators,
            books=books,
            policies=policies,
            scorers=scorers,
            sinks=sinks,
        )

    def _policies(self, models: Mapping[str, Model]) -> tuple[ConfiguredPolicy, ...]:
        linker = KindsLinker("policy", ("policy",), self._mistakes)
        found = tuple(linked_policies(self._file.policy, self._known.policies, models, linker))
        for each in found:
            self._model_names(("policy", each.name), each.config, models)
        return found

    def _scorers(self, models: Mapping[str, Model]) -> tuple[ConfiguredAdviser, ...]:
        linker = KindsLinker("scorer", ("scorer",), self._mistakes)
        return tuple(linked_scorers(self._file.scorer, self._known.scorers, models, linker))

    def _models(self) -> dict[str, Model]:
        found: dict[str, Model] = {}
        names: dict[str, str] = {}
        for name, section in self._file.model.items():
            modality = self._known.modalities.get(section.modality)
            if modality is None:
                text = self._no_modality(section.modality)
                self._missing(("model", name, "modality"), text, "plugin")
                continue
            for each in (name, *section.aliases):
                if each in names:
                    self._wrong(("model", name), f"the name '{each}' is taken by '{names[each]}'")
                names[each] = name
            found[name] = Model(
                name=name,
                modality=section.modality,
                aliases=section.aliases,
                on_disconnect=section.on_disconnect,
                facts=self._facts(name, section, modality),
                families=frozenset(
                    engines.family
                    for engines in (*self._file.backend, *self._file.discover)
                    if name in engines.serves
                ),
            )
        for name, model in found.items():
            self._model_names(("model", name), model.facts, found)
        for name, modality in self._known.modalities.items():
            owner = self._known.owners.get(name, name)
            self._model_names(("plugin", owner), modality.config, found)
        return found

    def _no_modality(self, name: str) -> str:
        known = sorted(self._known.modalities)
        what = f"no enabled plugin brings the modality '{name}'{did_you_mean(name, known)}"
        if name in self._file.plugin:
            return f"{what}; those that are switched on bring: {', '.join(known) or 'none'}"
        return f"{what}; a plugin is switched on by its section: [plugin.{name}]"

    def _facts(self, name: str, section: ModelSection, modality: AnyModality) -> ModelFacts:
        path, also = ("model", name), ModelSection.model_fields
        kind, said = modality.model_type, section.model_extra or {}
        found = self._mistakes.keys(path, kind, said, also)
        return ModelFacts() if found is None else found

    def _model_names(
        self, path: tuple[str, ...], holder: BaseModel, models: Mapping[str, Model]
    ) -> None:
        """A `ModelName["embedding"]` must be that of a model of that modality."""
        for at, name, modalities in model_names(path, holder):
            known = [each.name for each in models.values() if each.modality in modalities]
            if name not in known:
                text = f"'{name}' is no {' or '.join(modalities)} model{did_you_mean(name, known)}"
                self._missing(at, text, "model", name)

    def _peppered(self, path: tuple[str, ...]) -> None:
        """A file of keys is read under a pepper."""
        if self._file.auth.pepper is None:
            text = 'keys need a pepper: add [auth] pepper = { file = "/run/secrets/pepper" }'
            self._missing(path, text, "auth", "pepper")

    def _target(
        self, path: tuple[str | int, ...], text: TargetText, modality: AnyModality
    ) -> Target:
        by_public = {unit.public: unit for unit in modality.units}
        per_unit: dict[str, float] = {}
        for name, value in (text.model_extra or {}).items():
            unit = by_public.get(name)
            if unit is None:
                known = ", ".join(sorted(by_public))
                self._wrong((*path, name), f"{modality.name} has no unit '{name}'; known: {known}")
                continue
            try:
                per_unit[unit.name] = duration(value) / unit.scale
            except ValueError as error:
                self._wrong((*path, name), str(error))
        if not text.base and not any(per_unit.values()):
            self._wrong(path, "is no time at all, which nothing could keep")
        return Target(base_s=text.base, per_unit=per_unit, objective=text.objective)

    def _deadlines(self) -> Mapping[str, Phases]:
        """The plugins' own, with what `[timeouts.<modality>]` overrides."""
        found = {name: dict(each.deadlines) for name, each in self._known.modalities.items()}
        for name, value in (self._file.timeouts.model_extra or {}).items():
            modality = self._known.modalities.get(name)
            if modality is None or not isinstance(value, dict):
                known = [*type(self._file.timeouts).model_fields, *self._known.modalities]
                key = f"unknown key{did_you_mean(name, known)}"
                text = self._no_modality(name) if isinstance(value, dict) else key
                self._missing(("timeouts", name), text, "plugin")
                continue
            for phase, text in value.items():
                path = ("timeouts", name, phase)
                if phase not in DEADLINES:
                    self._wrong(path, f"unknown phase; known: {', '.join(DEADLINES)}")
                    continue
                read = self._mistakes.keys(path, TargetText, text)
                if read is not None:
                    found[name][phase] = self._target(path, read, modality)
        return found

    def _targets(self) -> dict[str, dict[str, dict[str, Target]]]:
        found: dict[str, dict[str, dict[str, Target]]] = {}
        for slo, modalities in self._file.slo.items():
            for name, phases in modalities.items():
                modality = self._known.modalities.get(name)
                if modality is None:
                    self._missing(("slo", slo, name), self._no_modality(name), "plugin")
                    continue
                for phase, text in phases.items():
                    path = ("slo", slo, name, phase)
                    if phase not in PHASES:
                        self._wrong(path, f"unknown phase; known: {', '.join(PHASES)}")
                    target = self._target(path, text, modality)
                    found.setdefault(slo, {}).setdefault(name, {})[phase] = target
        self._classes()
        return found

    def _classes(self) -> None:
        queue = self._file.queue
        for section, key, slos in (
            ("select", "unmet", [*self._file.select.unmet]),
            ("queue", "weights", [*queue.weights]),
            ("queue", "patience", [*queue.patience]),
        ):
            for slo in slos:
                if slo not in self._file.slo:
                    unknown = f"no [slo.{slo}]{did_you_mean(slo, self._file.slo)}"
                    self._missing((section, key, slo), unknown, "slo", slo)

    def _regions(self) -> None:
        """Those of `[select] away`; engines that are found may be in any."""
        known = {each.region for _, each in self._file.engines}
        for name in self._file.select.away:
            if name not in known and not self._file.discover:
                text = f"no backend stands in '{name}'{did_you_mean(name, known)}"
                self._missing(("select", "away", name), text, "backend")

    def _listeners(self) -> None:
        listen, admin = self._file.listen.address, self._file.admin.address
        if self._file.admin.keys is not None:
            self._peppered(("admin", "keys"))
        elif not admin.loopback and self._file.admin.key is None:
            text = 'off loopback it needs a key: [admin] key = { file = "/run/secrets/admin" }'
            self._missing(("admin", "address"), text, "admin", "key")
        if listen.collides(admin):
            text = f"the public listener has {listen} already; give each its own port"
            self._wrong(("admin", "address"), text)


def validator(file: File, mistakes: Mistakes) -> Callable[[str, type[BaseModel]], BaseModel]:
    """Validates a plugin's own section for the host; where that does not fit, defaults go on."""

    def validate(plugin: str, kind: type[BaseModel]) -> BaseModel:
        found = mistakes.keys(("plugin", plugin), kind, file.plugin.get(plugin, {}))
        try:
            return parsed(kind, {}) if found is None else found
        except ValidationError:  # some key has no default to go on with
            raise ConfigError(mistakes.found) from None

    return validate
