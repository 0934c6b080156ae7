"""Who may call: the tenants of file and store with their keys, linked to one configuration.

The file's tenants are linked with the file.  Those of the store are decoded and linked here, by the
same types and rules, so that a change of one of them makes nothing else anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from modgate.api.auth import Caller, Policy
from modgate.api.json import JsonObject
from modgate.auth.keys import StoredKey
from modgate.auth.store import Delta, KeyRow, Stored
from modgate.auth.table import Holder, KeySource, KeyTable
from modgate.config.decode import salvaged
from modgate.config.lines import Path
from modgate.config.link import Known, Linked
from modgate.config.link_tenants import GrantLinker, Tenant
from modgate.config.mistakes import Mistakes
from modgate.config.schema_tenants import TenantSection
from modgate.config.source import Source
from modgate.problems import ConfigError, Problem

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
        section, mistakes = _decoded(source, name)
        for key in ("keys", "key"):
            if key in grant:
                mistakes.wrong(("tenant", name, key), ELSEWHERE.format(name))
        found = self._linker(mistakes).tenant(name, section)
        if mistakes.found:
            raise ConfigError(mistakes.found)
        return found

    def key(self, tenant: Tenant, key_id: str, grant: JsonObject) -> Policy:
        """A key's policy, within that of its tenant."""
        if not grant:
            return tenant.policy  # same result without this: what nearly all keys have
        source = self._source({tenant.name: {"key": {key_id: grant}}})
        section, mistakes = _decoded(source, tenant.name)
        path: Path = ("tenant", tenant.name, "key", key_id)
        linker = self._linker(mistakes)
        found = [linker.key(path, tenant.policy, each) for each in section.key.values()]
        if mistakes.found:
            raise ConfigError(mistakes.found)
        return found[0]

    def _source(self, tenants: JsonObject) -> Source:
        return Source(values={"tenant": tenants}, places={("tenant",): (self._origin, 0)})

    def _linker(self, mistakes: Mistakes) -> GrantLinker:
        models = {**self._known.local, **self._linked.models}
        return GrantLinker(self._linked.file, models, self._known.units, mistakes)


def _decoded(source: Source, name: str) -> tuple[TenantSection, Mistakes]:
    """What decodes of a tenant, so that this is linked, and every mistake is told at once."""
    try:
        return TenantSection.model_validate(source.values["tenant"][name]), Mistakes(source)
    except ValidationError:
        file, _, problems = salvaged(source)
    return file.tenant.get(name, TenantSection()), Mistakes(source, problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Everyone who may call, as of one epoch of the store, in the file that was opened `opened`th.

    `declared`: the keys of files.  `holders`: those of the store, by id.  `problems`: grants of the
    store that do not fit this configuration; their tenants stay as they were, or out, and their
    keys stay out.
    """

    epoch: int = 0
    opened: int = 0
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    declared: KeyTable = field(default_factory=lambda: KeyTable({}))
    holders: Mapping[str, Holder] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def sources(self) -> tuple[KeySource, ...]:
        """Where keys are looked up; a file's come first."""
        return self.declared, KeyTable(self.holders)

    def policy(self, tenant: str) -> Policy | None:
        """What a tenant may use; None for an unknown one."""
        found = self.tenants.get(tenant)
        return found.policy if found is not None else None


class RosterMaker:
    """Makes rosters of one configuration.

    `keys`: of the tenants' files.  `more`: others that are no tenant's of the file.  Where file and
    store have a tenant of one name, the file's counts.
    """

    def __init__(
        self,
        linked: Linked,
        known: Known,
        keys: Sequence[tuple[str, StoredKey]],
        more: Iterable[Held] = (),
    ) -> None:
        self._reader = GrantReader(linked, known)
        self._file = {tenant.name: tenant for tenant in linked.tenants}
        self._keys = keys
        self._more = more

    def whole(self, stored: Stored, wall: float) -> Roster:
        """The roster of all that the store holds; ConfigError for a key id that is held twice."""
        problems: list[Problem] = []
        tenants = dict(self._file)
        for name, grant in stored.tenants.items():
            if name not in self._file:
                self._put(tenants, name, grant, problems)
        return Roster(
            epoch=stored.epoch,
            opened=stored.opened,
            tenants=tenants,
            declared=KeyTable.of([*self._declared(), *self._more]),
            holders=dict(self._holders(tenants, stored.keys, wall, problems)),
            problems=tuple(problems),
        )

    def renewed(self, before: Roster, delta: Delta, wall: float) -> Roster:
        """The same with what was changed since; costs as much as that, and a copy of two maps."""
        problems: list[Problem] = []
        tenants, holders = dict(before.tenants), dict(before.holders)
        for name, grant in delta.tenants.items():
            if name in self._file:
                continue
            if grant is None:
                tenants.pop(name, None)
            else:
                self._put(tenants, name, grant, problems)
        for row in delta.keys:
            holders.pop(row.id, None)
        holders.update(self._holders(tenants, delta.keys, wall, problems))
        return replace(
            before, epoch=delta.epoch, tenants=tenants, holders=holders, problems=tuple(problems)
        )

    def _declared(self) -> Iterator[Held]:
        staff = Tenant(name="", policy=Policy())
        for name, key in self._keys:
            tenant = self._file.get(name, staff)
            policy = tenant.keys.get(key.id, tenant.policy)
            yield Caller(tenant=name, key_id=key.id, role=key.role, policy=policy), key

    def _put(
        self, tenants: dict[str, Tenant], name: str, grant: JsonObject, problems: list[Problem]
    ) -> None:
        try:
            tenants[name] = self._reader.tenant(name, grant)
        except ConfigError as error:
            problems += error.problems

    def _holders(
        self,
        tenants: Mapping[str, Tenant],
        rows: Iterable[KeyRow],
        wall: float,
        problems: list[Problem],
    ) -> Iterator[tuple[str, Holder]]:
        for row in rows:
            digests = row.active(wall)
            tenant = tenants.get(row.tenant)
            if not digests or tenant is None:
                continue
            try:
                policy = self._reader.key(tenant, row.id, row.grant)
            except ConfigError as error:
                problems += error.problems
                continue
            caller = Caller(tenant=tenant.name, key_id=row.id, policy=policy)
            yield row.id, Holder(caller=caller, digests=digests)
