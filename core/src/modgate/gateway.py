"""A snapshot: everything that the configuration says, built once and never changed.

decode -> link -> build.  Building does no network I/O; what has lived comes from State.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from modgate.api.auth import Caller
from modgate.api.discover import Lookout
from modgate.api.model import Model
from modgate.api.residency import may_lie
from modgate.api.secret import Secret
from modgate.api.select import Backend
from modgate.api.surface import Surface
from modgate.auth.files import KeyFile, key_files, read_keys
from modgate.auth.gate import AdminGate, Gate, doors
from modgate.auth.keyring import Keyring
from modgate.auth.keys import StoredKey
from modgate.batch import Batcher
from modgate.budgets import Budgets, with_money
from modgate.callers import Roster
from modgate.checkups import Checkups, probes_of
from modgate.config.decode import (
    COMMAND_LINE,
    Source,
    close_to,
    did_you_mean,
    read,
    salvaged,
)
from modgate.config.lines import Path as KeyPath
from modgate.config.link import Known, Linked, Linker, validator
from modgate.config.schema import File
from modgate.config.show import Row, effective
from modgate.demo import demo_models, engine_specs, local_backend, local_engines
from modgate.discover import kinds
from modgate.dispatch import Dispatch
from modgate.draft import Draft
from modgate.engines.supervisor import EngineSpec
from modgate.entrance import NO_KEYS, other_checkers, signature, token_checkers, token_problems
from modgate.errors import ConfigError, PluginError, Problem, RegionForbidden
from modgate.fallback import Chains
from modgate.fleet.fleet import Fleet
from modgate.goals import Goals
from modgate.host.blame import Culprits
from modgate.host.installed import Installed, find, wanted
from modgate.host.load import Host, Loaded, import_plugins, load
from modgate.http.cors import Cors
from modgate.http.surfaces import built_in
from modgate.http.tls import Tls, TlsFiles, Unusable
from modgate.ledger import shipping
from modgate.limits.limiter import Bounds, Limiter
from modgate.places import default_directory
from modgate.policies import Policies, build_policies
from modgate.rehearsal import refusals
from modgate.seating import seated
from modgate.state import State
from modgate.statements import Statements
from modgate.table import Table, table_of
from modgate.telemetry.families import FAMILIES
from modgate.telemetry.orca import Remarks
from modgate.timeouts import Timeouts
from modgate.units import UnitTable
from modgate.upstream.fetch import Fetcher
from modgate.upstream.origins import Allowed

log = logging.getLogger(__name__)

Overrides = Mapping[KeyPath, str]

DEMO_LEVEL = "warning"  # a terminal shows the demo's progress in place of log lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A configuration that was read, decoded and linked: all that can be known offline."""

    linked: Linked
    loaded: Loaded
    source: Source
    known: Known
    keys: Sequence[tuple[str, StoredKey]] = ()
    demo: bool = False

    @property
    def units(self) -> UnitTable:
        """The units of the loaded modalities."""
        return self.known.units

    @property
    def files(self) -> list[Path]:
        """Every file that this plan was made of: includes, key files and certificates too.

        A plan that half a change of these refused is made again at the other half.
        """
        named = {Path(file) for file, line in self.source.places.values() if line}
        keys = {each.file for each in _key_files(self.linked.file)}
        jwks = [each.jwks for each in self.linked.file.auth.jwt.values()]
        keys |= {each.file for each in jwks if not isinstance(each, str)}
        tls = self.linked.file.listen.tls
        return sorted(named | keys | ({tls.cert, tls.key} if tls is not None else set()))

    @property
    def effective(self) -> list[Row]:
        """The configuration as it is meant, with origins."""
        return effective(self.linked.file, self.source)


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
    dispatch: Dispatch
    batcher: Batcher
    fetcher: Fetcher
    fetch_region: str
    timeouts: Timeouts
    surfaces: Mapping[str, Surface]
    units: UnitTable
    cors: Cors
    effective: Sequence[Row]
    created: int
    trusted_proxies: tuple[str, ...]
    drain_s: float
    declared: tuple[Backend, ...]
    lookouts: tuple[Lookout, ...]
    checkups: Checkups
    policies: Policies
    culprits: Culprits
    engines: tuple[EngineSpec, ...] = ()

    @property
    def backends(self) -> Sequence[Backend]:
        """The engines of the moment."""
        return tuple(self.fleet.backends.values())

    def whose(self, error: BaseException | None, draft: Draft) -> str:
        """The plugin whose code an error came out of, else the one that was at work."""
        return self.culprits.of(error, draft.modality)

    def guard_fetch(self, caller: Caller) -> None:
        """A URL is part of a caller's data, too: it is told to nobody where that may not be."""
        if not may_lie(caller.policy.regions, self.fetch_region):
            raise RegionForbidden("files by URL would be fetched where your data may not be")

    async def close(self) -> None:
        """Stop what this snapshot runs by itself."""
        await self.batcher.close()


def plan(
    path: Path | None,
    *,
    installed: Installed | None = None,
    extra: Mapping[str, ModuleType] | None = None,
    only: Sequence[str] | None = None,
    overrides: Overrides | None = None,
) -> Plan:
    """Read, decode and link: each phase with what was right in the one before.

    ConfigError with every mistake, PluginError for a plugin that breaks its contract.  `path` None:
    the fileless start, with every installed plugin and its local engine.  `overrides`: what the
    command line says in place of the file.
    """
    written = Source() if path is None else read(path)
    if path is None:
        written.override({("log", "level"): DEMO_LEVEL}, "start without a file")
    written.override(overrides or {}, COMMAND_LINE)
    file, source, problems = salvaged(written)
    found = find() if installed is None else installed
    names = _enabled(file, source, found, extra or {}, problems)
    if path is None:
        names = _only([*found.plugins, *(extra or {})], only, problems)
    try:
        host = Host(import_plugins(found, names, extra))
        checked = validator(file, source, problems)
        loaded = load(host, checked, built_in(), shipping.built_in(), kinds.built_in())
    except PluginError as error:
        if not problems:
            raise
        raise ConfigError([*problems, Problem(message=str(error), path="plugin")]) from error
    units = UnitTable.of({name: each.units for name, each in loaded.modalities.items()})
    owners = {name: origin.name for name, origin in loaded.owners.items()}
    known = Known(
        modalities=loaded.modalities,
        families=list(loaded.dialects),
        units=units,
        owners=owners,
        policies={name: kind for name, (_, kind) in loaded.policies.items()},
        scorers={name: kind for name, (_, kind) in loaded.scorers.items()},
        sinks={name: kind.config_type for name, (_, kind) in loaded.sinks.items()},
        authenticators={name: kind for name, (_, kind) in loaded.authenticators.items()},
        discoverers={name: kind.config_type for name, (_, kind) in loaded.discoverers.items()},
        local={} if path is not None else demo_models(loaded, file.local.only),
        metered=FAMILIES.keys(),
    )
    keys = _opened(file, source, problems)
    try:
        linked = Linker(file, source, known).link()
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    problems += token_problems(linked.issuers, linked.signing, source.problem)
    folder = file.state.directory or default_directory()
    problems += refusals(linked, loaded, folder, source.problem)
    if problems:
        raise ConfigError(problems)
    return Plan(
        linked=linked, loaded=loaded, source=source, known=known, keys=keys, demo=path is None
    )


def _enabled(
    file: File,
    source: Source,
    found: Installed,
    extra: Mapping[str, ModuleType],
    problems: list[Problem],
) -> list[str]:
    """The plugins that the file switches on; in place of an unknown one, what was meant."""
    names: list[str] = []
    for name in file.plugin:
        if name in extra:
            names.append(name)
            continue
        try:
            wanted(found, [name])
            names.append(name)
        except PluginError as error:
            guess = close_to(name, {*found.plugins, *extra} - set(file.plugin))
            text = f"{error}{did_you_mean(name, [guess] if guess else [])}"
            problems.append(source.problem(("plugin", name), text))
            names += [guess] if guess and guess not in names else []
    return names


def _only(names: list[str], only: Sequence[str] | None, problems: list[Problem]) -> list[str]:
    """The fileless start's plugins; names of `--only` that are none are mistakes."""
    if only is None:
        return names
    for name in only:
        if name not in names:
            text = f"'{name}' is not installed{did_you_mean(name, names)}"
            text += f"; installed: {', '.join(names) or 'none'}"
            problems.append(Problem(message=text, path="--only", file=COMMAND_LINE))
    return [name for name in names if name in only]


def _opened(file: File, source: Source, problems: list[Problem]) -> list[tuple[str, StoredKey]]:
    """The files that the configuration names, read as serving reads them; the tenants' keys."""
    tls = file.listen.tls
    if tls is not None:
        try:
            Tls(TlsFiles(cert=tls.cert, key=tls.key))
        except Unusable as error:
            problems.append(source.problem(("listen", "tls", error.which), str(error)))
    for index, entry in enumerate(file.fetch.allow):
        try:
            Allowed.of([entry])
        except ValueError as error:
            problems.append(source.problem(("fetch", "allow", index), str(error)))

    def wrong(at: tuple[str, ...], message: str) -> Problem:
        return source.problem((*at, "file"), message)

    return read_keys(_key_files(file), wrong, problems)


def _key_files(file: File) -> list[KeyFile]:
    """The files of keys that a configuration names."""
    named = {name: each.keys.file for name, each in file.tenant.items() if each.keys is not None}
    return key_files(named, file.admin.keys.file if file.admin.keys is not None else None)


def build(made: Plan, state: State, *, data: Path, who: Roster, pepper: Secret) -> Gateway:
    """The snapshot of a plan over the State; `who`: may call."""
    linked, loaded, file = made.linked, made.loaded, made.linked.file
    models, declared, engines = _with_local(made, state, data)
    backends = state.members.of(declared, linked.lookouts)
    timeouts = timeouts_of(linked)
    fleet = seated(linked, loaded.scorers, state, backends=backends, models=models)
    client_of = partial(state.client_of, connect_s=timeouts.connect_s)
    for each in backends:
        client_of(each)  # certificates are read here, and not by a first call
    for lookout in linked.lookouts:
        state.judges.of(lookout.template.ca)
    signer = signature(linked.signing, state)
    dispatch = Dispatch(
        fleet=fleet,
        goals=Goals(linked.targets, linked.unmet, state.fleet.expected),
        dialects=loaded.dialects,
        client_of=client_of,
        timeouts=timeouts,
        opened=state.opened,
        prepare=state.engines.ready,
        sign=signer.token if signer is not None else None,
        remarks=Remarks(file.telemetry.orca, state.clock.now, state.board.remark),
    )
    gate, admin_gate = gates(made, state, who=who, pepper=pepper)
    table = table_of(loaded, models)
    return Gateway(
        table=table,
        chains=Chains(models=table.models, modalities=table.modalities, by_model=linked.chains),
        gate=gate,
        admin_gate=admin_gate,
        jwks=signer.jwks if signer is not None else NO_KEYS,
        limiter=Limiter(state.limits, with_money(made.units), _bounds(file)),
        budgets=Budgets.of(linked.books, made.units),
        statements=state.statements,
        fleet=fleet,
        dispatch=dispatch,
        batcher=Batcher(dispatch),
        fetcher=state.fetcher_of(file.fetch.allow),
        fetch_region=file.fetch.region,
        timeouts=timeouts,
        surfaces=loaded.surfaces,
        units=made.units,
        cors=Cors(origins=file.cors.origins),
        effective=made.effective,
        created=int(state.clock.wall()),
        trusted_proxies=file.listen.trusted_proxies,
        drain_s=file.timeouts.drain,
        declared=tuple(declared),
        lookouts=linked.lookouts,
        checkups=Checkups(
            scrape_s=file.telemetry.scrape,
            probe_s=file.telemetry.probe,
            exporters=linked.exporters,
            probes=probes_of(loaded.dialects),
        ),
        culprits=loaded.culprits,
        policies=build_policies(linked.policies, loaded.policies, models, linked.targets),
        engines=tuple(engines),
    )


def gates(made: Plan, state: State, *, who: Roster, pepper: Secret) -> tuple[Gate, AdminGate]:
    """The doors of both listeners."""
    admin = made.linked.file.admin
    keyring = Keyring(who.sources, pepper=pepper)
    # By where it listens since the start, and not by what a reloaded file says of it.
    open_ = admin.key is None and admin.keys is None and state.admin_on_loopback
    tokens = token_checkers(made.linked.issuers, state, who.policy)
    others = other_checkers(made.linked.doormen, made.loaded.authenticators, state, who.policy)
    return doors(keyring, state.attempts, key=admin.key, open_=open_, tokens=tokens, others=others)


def timeouts_of(linked: Linked) -> Timeouts:
    """When the file wants the gateway to give up."""
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


def _bounds(file: File) -> Bounds:
    limits = file.limits
    return Bounds(
        in_flight=limits.in_flight,
        streams=limits.streams,
        body_bytes=limits.body_bytes,
        spool_bytes=file.spool.at_most,
    )


def _with_local(
    made: Plan, state: State, data: Path
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
