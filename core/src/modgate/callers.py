"""Who may call: the tenants of file and store with their keys, linked to one configuration.

The file's tenants are linked with the file.  Those of the store are decoded and linked here, by the
same types and rules, so that a change of one of them makes nothing else anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modgate.api.auth import Caller, Policy
from modgate.api.json import JsonObject
from modgate.auth.keys import StoredKey
from modgate.auth.store import KeyRow, Stored
from modgate.config.decode import Source, salvaged
from modgate.config.lines import Path as KeyPath
from modgate.config.link import Known, Linked
from modgate.config.link_tenants import GrantLinker, Tenant
from modgate.config.schema_tenants import TenantSection
from modgate.errors import ConfigError, Problem

DEMO_TENANT = "demo"
STORE = "the store of tenants"
ELSEWHERE = "is for a tenant of the file; keys of this one: `modgate keys new NAME --tenant {}`"

Held = tuple[Caller, StoredKey]


class GrantReader:
    """Decodes and links grants that no file holds; ConfigError with every mistake of one.

    `origin`: where they come from, for the messages.
    """

    def __init__(self, linked: Linked, known: Known, origin: str = STORE) -> None:
        self._linked = linked
        self._known = known
        self._origin = origin

    def tenant(self, name: str, grant: JsonObject) -> Tenant:
        """A tenant's policy."""
        source = self._source({name: grant})
        section, problems = _decoded(source, name)
        for key in ("keys", "key"):
            if key in grant:
                problems.append(source.problem(("tenant", name, key), ELSEWHERE.format(name)))
        found = self._linker(source, problems).tenant(name, section)
        if problems:
            raise ConfigError(problems)
        return found

    def key(self, tenant: Tenant, key_id: str, grant: JsonObject) -> Policy:
        """A key's policy, within that of its tenant."""
        if not grant:
            return tenant.policy  # same result without this: what nearly all keys have
        source = self._source({tenant.name: {"key": {key_id: grant}}})
        section, problems = _decoded(source, tenant.name)
        path: KeyPath = ("tenant", tenant.name, "key", key_id)
        linker = self._linker(source, problems)
        found = [linker.key(path, tenant.policy, each) for each in section.key.values()]
        if problems:
            raise ConfigError(problems)
        return found[0]

    def _source(self, tenants: JsonObject) -> Source:
        return Source(values={"tenant": tenants}, places={("tenant",): (self._origin, 0)})

    def _linker(self, source: Source, problems: list[Problem]) -> GrantLinker:
        def wrong(path: KeyPath, message: str, *_: str) -> None:
            problems.append(source.problem(path, message))

        models = {**self._known.local, **self._linked.models}
        return GrantLinker(self._linked.file, models, self._known.units, wrong, wrong)


def _decoded(source: Source, name: str) -> tuple[TenantSection, list[Problem]]:
    """What decodes of a tenant, so that this is linked, and every mistake is told at once."""
    file, _, problems = salvaged(source)
    return file.tenant.get(name, TenantSection()), problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Everyone who may call.  `stored`: what was read of the store for it.

    `problems`: grants of the store that do not fit this configuration.  Their tenants stay as they
    were in the roster before, or out; their keys stay out.
    """

    stored: Stored = field(default_factory=Stored)
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    held: Sequence[Held] = ()
    problems: tuple[Problem, ...] = ()


def roster(
    linked: Linked,
    known: Known,
    keys: Sequence[tuple[str, StoredKey]],
    stored: Stored,
    *,
    wall: float,
    before: Roster | None = None,
) -> Roster:
    """The roster at a time.  `keys`: of the tenants' files; `before`: of the same configuration.

    Where file and store have a tenant of one name, the file's counts.
    """
    reader = GrantReader(linked, known)
    problems: list[Problem] = []
    tenants = {tenant.name: tenant for tenant in linked.tenants}
    for name, grant in stored.tenants.items():
        if name not in tenants:
            found = _tenant(reader, name, grant, before, problems)
            tenants |= {name: found} if found is not None else {}
    held: list[Held] = []
    staff = Tenant(name="", policy=Policy())
    for name, key in keys:
        tenant = tenants.get(name, staff)
        policy = tenant.keys.get(key.id, tenant.policy)
        held.append((Caller(tenant=name, key_id=key.id, role=key.role, policy=policy), key))
    for row in stored.keys:
        if row.tenant in tenants:
            held += _held(reader, tenants[row.tenant], row, wall, problems)
    return Roster(stored=stored, tenants=tenants, held=held, problems=tuple(problems))


def _tenant(
    reader: GrantReader,
    name: str,
    grant: JsonObject,
    before: Roster | None,
    problems: list[Problem],
) -> Tenant | None:
    known = before.tenants.get(name) if before is not None else None
    if known is not None and before is not None and before.stored.tenants.get(name) == grant:
        return known  # same result without this: linked already
    try:
        return reader.tenant(name, grant)
    except ConfigError as error:
        problems += error.problems
        return known


def _held(
    reader: GrantReader, tenant: Tenant, row: KeyRow, wall: float, problems: list[Problem]
) -> list[Held]:
    digests = row.active(wall)
    if not digests:
        return []
    try:
        policy = reader.key(tenant, row.id, row.grant)
    except ConfigError as error:
        problems += error.problems
        return []
    caller = Caller(tenant=tenant.name, key_id=row.id, policy=policy)
    return [(caller, each) for each in digests]
