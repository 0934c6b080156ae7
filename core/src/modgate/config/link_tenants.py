"""Linking what tenants and keys are granted, whether a file says it or the admin API."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modgate.api.auth import Limits, Policy, Rate
from modgate.api.model import Model
from modgate.config.guess import did_you_mean
from modgate.config.lines import Path
from modgate.config.link_ledger import region_of
from modgate.config.link_limits import LimitsLinker
from modgate.config.mistakes import Mistakes
from modgate.config.schema import File
from modgate.config.schema_tenants import KeyGrant, TenantGrant, TenantSection
from modgate.units import UnitTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant: its policy, and that of keys of its file which may use less."""

    name: str
    policy: Policy
    keys: Mapping[str, Policy] = field(default_factory=dict)


def places_unsaid(file: File) -> list[str]:
    """The sections of what is somewhere else, and does not say where."""
    found = []
    for index, sink in enumerate(file.ledger.sink or ()):
        if region_of(sink, None) == "":
            found.append(f"ledger.sink.{index}")
    if file.limits.store is not None and file.limits.store.place(None) == "":
        found.append("limits.store")
    if file.trace.otlp is not None and not file.trace.region:
        found.append("trace")
    return found


class GrantLinker:
    """Links grants to what the file has."""

    def __init__(
        self, file: File, models: Mapping[str, Model], units: UnitTable, mistakes: Mistakes
    ) -> None:
        self._file = file
        self._models = models
        currency = next((each.currency for each in file.price.values()), "")
        self._limits = LimitsLinker(units, models, currency, mistakes)
        self._wrong, self._missing = mistakes.wrong, mistakes.missing

    def tenant(self, name: str, grant: TenantGrant) -> Tenant:
        """A tenant of the file, or of the store."""
        path: Path = ("tenant", name)
        self._places(path, grant.regions)
        models = self._models_of(path, grant)
        policy = Policy(
            models=models,
            visible=models,
            regions=self._regions(path, grant.regions, self._file.places),
            slo=self._slo(path, grant.slo),
            raw_engine_fields=grant.raw_engine_fields,
            batch_shared=grant.batch_shared,
            weight=grant.weight,
            fallback=grant.fallback,
            on_disconnect=grant.on_disconnect,
            limits=self._limits.link((*path, "limits"), grant.limits),
        )
        if not isinstance(grant, TenantSection):
            return Tenant(name=name, policy=policy)
        keys = {n: self.key((*path, "key", n), policy, each) for n, each in grant.key.items()}
        return Tenant(name=name, policy=policy, keys=keys)

    def key(self, path: Path, whole: Policy, grant: KeyGrant) -> Policy:
        """The policy of a key: what its tenant may, and never more."""
        models = self._models_of(path, grant)
        if models is not None and whole.models is not None:
            self._beyond((*path, "models"), grant.models, whole.models)
            models &= whole.models
        elif models is None:
            models = whole.models
        regions = whole.regions
        if grant.regions is not None:
            own = whole.regions if whole.regions is not None else self._file.places
            regions = self._regions(path, grant.regions, own)
        rates = self._limits.of_keys((*path, "limits"), grant.limits)
        return replace(
            whole,
            models=models,
            visible=models,
            regions=regions,
            slo=self._slo(path, grant.slo) or whole.slo,
            limits=_with_own(whole.limits, rates),
        )

    def _models_of(self, path: Path, grant: TenantGrant | KeyGrant) -> frozenset[str] | None:
        """The models that `models` and `modalities` leave; None where neither is said."""
        for index, model in enumerate(grant.models or ()):
            if model not in self._models:
                text = f"no [model.{model}]{did_you_mean(model, self._models)}"
                self._missing((*path, "models", index), text, "model", model)
        served = sorted({model.modality for model in self._models.values()})
        for index, modality in enumerate(grant.modalities or ()):
            if modality not in served:
                text = f"no model is of the modality '{modality}'{did_you_mean(modality, served)}"
                self._missing((*path, "modalities", index), text, "model")
        if grant.modalities is None:
            return frozenset(grant.models) if grant.models is not None else None
        fitting = {n for n, model in self._models.items() if model.modality in grant.modalities}
        return frozenset(fitting if grant.models is None else fitting & set(grant.models))

    def _places(self, path: Path, regions: Sequence[str] | None) -> None:
        """Whatever leaves this machine says where it goes, once a tenant's data may not go."""
        if regions is None:
            return
        for where in places_unsaid(self._file):
            text = f"keeps its data in {', '.join(regions) or 'no region'}, and [{where}] does not "
            self._wrong((*path, "regions"), text + "say where it stands; give it a `region`")

    def _regions(
        self, path: Path, regions: Iterable[str] | None, known: Collection[str] | None
    ) -> frozenset[str] | None:
        """`known` None: any may turn up."""
        if regions is None:
            return None
        places = self._file.places
        for index, region in enumerate(regions):
            if known is not None and region not in known:
                text = f"'{region}' is no region of the tenant"
                if places is not None and region not in places:
                    text = f"no backend stands in '{region}'"
                guess = did_you_mean(region, sorted(known))
                self._missing((*path, "regions", index), text + guess, "backend")
        return frozenset(regions)

    def _slo(self, path: Path, slo: str) -> str:
        if slo and slo not in self._file.slo:
            self._missing(
                (*path, "slo"), f"no [slo.{slo}]{did_you_mean(slo, self._file.slo)}", "slo"
            )
        return slo

    def _beyond(self, path: Path, wanted: Sequence[str] | None, whole: frozenset[str]) -> None:
        for index, name in enumerate(wanted or ()):
            if name in self._models and name not in whole:
                self._wrong((*path, index), f"'{name}' is no model of the tenant")


def _with_own(limits: Limits, own: Iterable[Rate]) -> Limits:
    """A tenant's limits with those of one key: its own take the place of `each_key`'s."""
    taken = {(rate.unit, rate.period) for rate in own}
    kept = [
        rate for rate in limits.rates if not (rate.each_key and (rate.unit, rate.period) in taken)
    ]
    return replace(limits, rates=(*kept, *own))
