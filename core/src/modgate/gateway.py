"""A snapshot: everything that the configuration says, built once and never changed.

It is built of a Blueprint, without network I/O; what outlives a snapshot is in State.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from modgate.api.auth import Caller
from modgate.api.discover import ConfiguredDiscoverer
from modgate.api.model import Model
from modgate.api.residency import may_lie, sorted_regions
from modgate.api.secret import Secret
from modgate.api.select import Backend
from modgate.api.surface import Surface
from modgate.auth.gate import AdminGate, Gate, doors
from modgate.auth.keyring import Keyring
from modgate.batch import Batcher
from modgate.complaints import raised_by
from modgate.config.link import Linked
from modgate.config.schema import File
from modgate.dispatch import Dispatch
from modgate.draft import Draft
from modgate.engines.supervisor import EngineSpec
from modgate.errors import RegionForbidden
from modgate.fallback import Chains
from modgate.fleet.fleet import Fleet
from modgate.foresight import Foresight
from modgate.goals import Goals
from modgate.host.blame import Culprits
from modgate.http.cors import Cors
from modgate.leasing import Leasing
from modgate.limits.limiter import Bounds, Limiter
from modgate.money.budgets import Budgets, with_money
from modgate.money.statements import Statements
from modgate.policies import Policies, build_policies
from modgate.retrying import Retrying
from modgate.sender import Sender
from modgate.snapshot.auth import NO_KEYS, other_checkers, signature, token_checkers
from modgate.snapshot.blueprint import Blueprint
from modgate.snapshot.callers import Roster
from modgate.snapshot.checkups import Checkups, probes_of
from modgate.snapshot.demo import engine_specs, local_backend, local_engines
from modgate.snapshot.fleet import build_fleet
from modgate.state import State
from modgate.table import Table, table_of
from modgate.telemetry.orca import Remarks
from modgate.timeouts import Timeouts
from modgate.trip import DialectFault
from modgate.units import UnitTable
from modgate.upstream.fetch import Fetcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One snapshot; a request keeps the one that it began with."""

    table: Table
    chains: Chains
    gate: Gate
    admin_gate: AdminGate
    jwks: bytes
    limiter: Limiter
    budgets: Budgets
    statements: Statements
    fleet: Fleet
    goals: Goals
    dispatch: Dispatch
    batcher: Batcher
    retrying: Retrying
    fetcher: Fetcher
    fetch_region: str
    timeouts: Timeouts
    surfaces: Mapping[str, Surface]
    units: UnitTable
    cors: Cors
    created: int
    trusted_proxies: tuple[str, ...]
    drain_s: float
    declared: tuple[Backend, ...]
    discoverers: tuple[ConfiguredDiscoverer, ...]
    checkups: Checkups
    policies: Policies
    culprits: Culprits
    engines: tuple[EngineSpec, ...] = ()

    @property
    def backends(self) -> Sequence[Backend]:
        """The backends now, discovered ones included."""
        return tuple(self.fleet.backends.values())

    def whose(self, error: BaseException | None, draft: Draft) -> str:
        """The plugin whose code raised an error; else the dialect's or the modality's."""
        dialect = error.dialect if isinstance(error, DialectFault) else None
        return self.culprits.of(raised_by(error), draft.modality, dialect)

    def guard_fetch(self, caller: Caller) -> None:
        """RegionForbidden where a fetch would take a caller's URL out of its regions."""
        if not may_lie(caller.policy.regions, self.fetch_region):
            raise RegionForbidden("files by URL would be fetched where your data may not be")

    def rights(self, caller: Caller, model: str) -> bytes:
        """What of a caller's rights a reply depends on, beside its model; b'' where all are alike.

        Of two callers of a tenant for whom this differs, neither is told what was replied to the
        other: it may have come from another region or a stand-in, or a policy looks at who asks.
        """
        policy = caller.policy
        chain = self.chains.by_model.get(model, ()) if policy.fallback else ()
        barred = [each.model for each in chain if not policy.may_use(each.model)]
        judged = any(each in self.policies.rules for each in (model, *(e.model for e in chain)))
        if policy.regions is None and not barred and not judged:
            return b""
        places = sorted_regions(policy.regions)
        return orjson.dumps([places, barred, caller.key_id if judged else ""])

    async def close(self) -> None:
        """Stop what this snapshot runs by itself."""
        await self.batcher.close()


def build(made: Blueprint, state: State, *, data: Path, who: Roster, pepper: Secret) -> Gateway:
    """The snapshot of a blueprint over the State; `who`: the callers."""
    linked, loaded, file = made.linked, made.loaded, made.linked.file
    models, declared, engines = _with_local(made, state, data)
    backends = state.members.of(declared, linked.discoverers)
    timeouts = timeouts_of(linked)
    fleet = build_fleet(linked, loaded.scorers, state, backends=backends, models=models)
    signer = signature(linked.signing, state)
    sign = signer.token if signer is not None else None
    sender = _sender(state, sign, orca_s=file.telemetry.orca, connect_s=timeouts.connect_s)
    sender.meet(backends)
    for found in linked.discoverers:
        state.ca_bundles.of(found.template.ca)
    goals = Goals(linked.targets, linked.unmet, state.fleet.expected)
    foresight = Foresight(fleet=fleet, goals=goals, timeouts=timeouts)
    leasing, retrying = Leasing(fleet, foresight), Retrying(fleet, foresight)
    dispatch = Dispatch(
        fleet=fleet,
        leasing=leasing,
        foresight=foresight,
        dialects=loaded.dialects,
        sender=sender,
        timeouts=timeouts,
    )
    gate, admin_gate = gates(made, state, who=who, pepper=pepper)
    table = table_of(loaded, models)
    budgets = Budgets.of(linked.books, made.units)
    return Gateway(
        table=table,
        chains=Chains(models=table.models, modalities=table.modalities, by_model=linked.chains),
        gate=gate,
        admin_gate=admin_gate,
        jwks=signer.jwks if signer is not None else NO_KEYS,
        limiter=Limiter(state.limits, with_money(budgets.tariff), _bounds(file)),
        budgets=budgets,
        statements=state.statements,
        fleet=fleet,
        goals=goals,
        dispatch=dispatch,
        batcher=Batcher(dispatch, leasing, retrying),
        retrying=retrying,
        fetcher=state.fetcher_of(file.fetch.allow),
        fetch_region=file.fetch.region,
        timeouts=timeouts,
        surfaces=loaded.surfaces,
        units=made.units,
        cors=Cors(origins=file.cors.origins),
        created=int(state.clock.wall()),
        trusted_proxies=file.listen.trusted_proxies,
        drain_s=file.timeouts.drain,
        declared=tuple(declared),
        discoverers=linked.discoverers,
        checkups=_checkups(made),
        culprits=loaded.culprits,
        policies=build_policies(linked.policies, loaded.policies, models, linked.targets),
        engines=tuple(engines),
    )


def _sender(
    state: State, sign: Callable[..., str] | None, *, orca_s: float, connect_s: float
) -> Sender:
    return Sender(
        client_of=state.connections.of,
        connect_s=connect_s,
        prepare=state.engines.ready,
        opened=state.opened,
        sign=sign,
        remarks=Remarks(orca_s, state.clock.now, state.board.remark),
    )


def gates(made: Blueprint, state: State, *, who: Roster, pepper: Secret) -> tuple[Gate, AdminGate]:
    """The doors of both listeners."""
    admin = made.linked.file.admin
    keyring = Keyring(who.sources, pepper=pepper)
    # Where it has listened since the start counts, not what a reloaded file says.
    open_ = admin.key is None and admin.keys is None and state.admin_on_loopback
    tokens = token_checkers(made.linked.issuers, state, who.policy)
    others = other_checkers(
        made.linked.authenticators, made.loaded.authenticators, state, who.policy
    )
    return doors(keyring, state.attempts, key=admin.key, open_=open_, tokens=tokens, others=others)


def timeouts_of(linked: Linked) -> Timeouts:
    """The timeouts of the configuration."""
    section = linked.file.timeouts
    return Timeouts(
        connect_s=section.connect,
        idle_s=section.idle,
        client_stalled_s=section.client_stalled,
        keep_alive_s=section.keep_alive,
        body_idle_s=section.body_idle,
        reply_bytes=linked.file.limits.reply_bytes,
        drained_bytes=linked.file.limits.drained_bytes,
        deadlines=linked.deadlines,
    )


def _checkups(made: Blueprint) -> Checkups:
    telemetry = made.linked.file.telemetry
    return Checkups(
        scrape_s=telemetry.scrape,
        probe_s=telemetry.probe,
        exporters=made.linked.exporters,
        probes=probes_of(made.loaded.dialects),
    )


def _bounds(file: File) -> Bounds:
    limits = file.limits
    return Bounds(
        in_flight=limits.in_flight,
        streams=limits.streams,
        body_bytes=limits.body_bytes,
        spool_bytes=file.spool.at_most,
    )


def _with_local(
    made: Blueprint, state: State, data: Path
) -> tuple[list[Model], list[Backend], list[EngineSpec]]:
    """The file's models and backends; on the fileless start those of the local engines."""
    models = list(made.linked.models.values())
    backends = list(made.linked.backends)
    if not made.demo:
        return models, backends, []
    local = made.linked.file.local
    found = list(local_engines(made.loaded, local.only))
    models += made.known.local.values()
    backends += [local_backend(kind, state.engines.socket_of(kind.model)) for kind in found]
    return models, backends, engine_specs(made.loaded, found, local.slots, data)
