"""Changes of the tenants' store, checked: what the admin API and the command line do to it.

A grant goes through the same types and rules as a file's.  What a file declares is shown and never
changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from modgate.api.json import JsonObject
from modgate.api.secret import Secret
from modgate.auth.keys import new_key
from modgate.auth.store import KeyRow, NotStored, Store, StoreError
from modgate.config.decode import problems_of
from modgate.config.lines import Path as KeyPath
from modgate.config.link_tenants import Tenant
from modgate.config.source import dotted
from modgate.config.values import Duration
from modgate.observe.metrics import OTHER
from modgate.problems import ConfigError, Problem
from modgate.snapshot.blueprint import Blueprint
from modgate.snapshot.callers import DEMO_TENANT, GrantReader

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY_NAME = re.compile(r"[^\x00-\x1f\x7f]{0,100}")
RESERVED = (DEMO_TENANT, OTHER)
LAST = 4
GRACE_S = 86_400.0
Body = TypeVar("Body", bound=BaseModel)


class Declared(StoreError):
    """A file declares it, so it is changed there."""


class NewKey(BaseModel, frozen=True, extra="forbid"):
    """`POST /admin/v1/keys`."""

    tenant: str
    name: str = ""
    env: str = "live"
    grant: JsonObject = Field(default_factory=dict)


class KeyChange(BaseModel, frozen=True, extra="forbid"):
    """`PATCH /admin/v1/keys/ID`; what is not given stays."""

    name: str | None = None
    grant: JsonObject | None = None


class Rotation(BaseModel, frozen=True, extra="forbid"):
    """`POST /admin/v1/keys/ID/rotate`.  `grace`: how long the secret before stays good."""

    grace: Duration = GRACE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A tenant as it is shown.  `place`: where it is declared; `store` for the store's."""

    name: str
    place: str
    grant: JsonObject
    keys: tuple[str, ...]

    def shown(self) -> JsonObject:
        """As admin API and command line show it."""
        return {
            "name": self.name,
            "declared": self.place,
            "grant": dict(self.grant),
            "keys": list(self.keys),
        }


class Registrar:
    """Changes one store for one `actor`.  `made`: the configuration that grants must fit."""

    def __init__(self, store: Store, made: Blueprint, pepper: Secret, *, actor: str) -> None:
        self._store = store
        self._made = made
        self._pepper = pepper
        self._actor = actor

    def tenants(self) -> list[Listed]:
        """Every tenant, of file and store."""
        stored = self._store.read()
        ids: dict[str, list[str]] = {}
        for name, key in self._made.keys:
            ids.setdefault(name, []).append(key.id)
        for row in stored.keys:
            if not row.revoked:
                ids.setdefault(row.tenant, []).append(row.id)
        file = self._made.linked.file.tenant
        names = [*file, *(name for name in stored.tenants if name not in file)]
        return [self._listed(each, stored.tenants.get(each), ids.get(each, [])) for each in names]

    def tenant(self, name: str) -> Listed:
        """One of them; NotStored."""
        grant, rows = self._store.tenant(name)
        if grant is None and name not in self._made.linked.file.tenant:
            raise NotStored(f"no tenant '{name}', neither in the file nor in the store")
        ids = [key.id for tenant, key in self._made.keys if tenant == name]
        return self._listed(name, grant, [*ids, *(row.id for row in rows if not row.revoked)])

    def _listed(self, name: str, grant: JsonObject | None, ids: Sequence[str]) -> Listed:
        if name in self._made.linked.file.tenant:
            written: JsonObject = self._made.source.values["tenant"][name]
            return Listed(name=name, place=self._place(name), grant=written, keys=tuple(ids))
        return Listed(name=name, place="store", grant=grant or {}, keys=tuple(ids))

    def _place(self, name: str) -> str:
        file, line = self._made.source.place(("tenant", name))
        return f"{file}:{line}"

    def _own(self, name: str) -> None:
        """Declared for a tenant of the file."""
        if name in self._made.linked.file.tenant:
            text = f"tenant '{name}' is declared in {self._place(name)}; change it there"
            raise Declared(text)

    def set_tenant(self, name: str, grant: JsonObject, wall: float) -> None:
        """Add a tenant, or give it another grant; ConfigError with every mistake, Declared."""
        self._own(name)
        if not NAME.fullmatch(name) or name in RESERVED:
            text = "a tenant's name is 1 to 64 letters, digits, '.', '_' and '-'; "
            text += f"{' and '.join(RESERVED)} are taken"
            raise ConfigError([Problem(message=text, path=f"tenant.{name}")])
        self._keys_fit(self._grants().tenant(name, grant))
        self._store.set_tenant(name, grant, actor=self._actor, wall=wall)

    def _keys_fit(self, tenant: Tenant) -> None:
        """ConfigError where a key names what the tenant has not: no start would take both."""
        problems: list[Problem] = []
        for row in self._store.tenant(tenant.name)[1]:
            try:
                if not row.revoked:
                    self._grants().key(tenant, row.id, row.grant)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)

    def delete_tenant(self, name: str, wall: float) -> int:
        """Remove a tenant and revoke its keys; the answer is how many.  Declared, NotStored."""
        self._own(name)
        return self._store.delete_tenant(name, actor=self._actor, wall=wall)

    def _grants(self) -> GrantReader:
        return GrantReader(self._made.linked, self._made.known, "")

    def _linked(self, name: str) -> Tenant:
        for tenant in self._made.linked.tenants:
            if tenant.name == name:
                return tenant
        return self._grants().tenant(name, self.tenant(name).grant)

    def new_key(
        self, tenant: str, *, name: str, env: str, grant: JsonObject, wall: float
    ) -> tuple[Secret, KeyRow]:
        """A new key, shown once; ConfigError with every mistake, NotStored for its tenant."""
        _check_name(name)
        try:
            key, made = new_key(self._pepper, name=name, env=env, random=os.urandom)
        except ValueError as error:
            raise ConfigError([Problem(message=str(error), path="env")]) from None
        self._grants().key(self._linked(tenant), made.id, grant)
        row = KeyRow(
            id=made.id,
            tenant=tenant,
            name=name,
            env=env,
            last4=key.reveal()[-LAST:],
            created=wall,
            digest=made.digest,
            grant=grant,
        )
        self._store.add_key(row, actor=self._actor)
        return key, row

    def change_key(
        self, key_id: str, *, name: str | None, grant: JsonObject | None, wall: float
    ) -> None:
        """Another name or grant of a key; ConfigError with every mistake, Declared, NotStored."""
        self._ours(key_id)
        row = self._store.key(key_id)
        name, grant = row.name if name is None else name, row.grant if grant is None else grant
        _check_name(name)
        self._grants().key(self._linked(row.tenant), key_id, grant)
        self._store.change_key(key_id, name=name, grant=grant, actor=self._actor, wall=wall)

    def rotate_key(self, key_id: str, *, grace_s: float, wall: float) -> Secret:
        """Another secret for a key; the one before stays good for `grace_s`.

        Declared for a key of a file, NotStored for one that is unknown or revoked.
        """
        self._ours(key_id)
        row = self._store.key(key_id)
        key, made = new_key(
            self._pepper, name=row.name, env=row.env, random=os.urandom, key_id=key_id
        )
        self._store.rotate_key(
            key_id,
            digest=made.digest,
            last4=key.reveal()[-LAST:],
            grace_s=grace_s,
            actor=self._actor,
            wall=wall,
        )
        return key

    def revoke_key(self, key_id: str, wall: float) -> None:
        """End a key for good.  Declared for a key of a file, NotStored for an unknown one."""
        self._ours(key_id)
        self._store.revoke_key(key_id, actor=self._actor, wall=wall)

    def _ours(self, key_id: str) -> None:
        for tenant, key in self._made.keys:
            if key.id == key_id:
                reference = self._made.linked.file.tenant[tenant].keys
                place = reference.file if reference is not None else self._place(tenant)
                raise Declared(f"key '{key_id}' is a line of {place}; change it there")

    def keys(self) -> list[JsonObject]:
        """Every key of file and store, and never a secret or a digest."""
        of_files: list[JsonObject] = [
            {
                "id": key.id,
                "tenant": tenant,
                "role": key.role,
                "name": key.name,
                "declared": "file",
            }
            for tenant, key in self._made.keys
        ]
        return [*of_files, *(shown_key(row) for row in self._store.read().keys)]


def _check_name(name: str) -> None:
    if not KEY_NAME.fullmatch(name):
        text = "a key's name is one line of 100 characters at most"
        raise ConfigError([Problem(message=text, path="name")])


def shown_key(row: KeyRow) -> JsonObject:
    """A stored key without its digests."""
    shown: JsonObject = {
        "id": row.id,
        "tenant": row.tenant,
        "name": row.name,
        "declared": "store",
        "created": int(row.created),
        "last4": row.last4,
        "grant": dict(row.grant),
    }
    if row.old_until:
        shown["rotating_until"] = int(row.old_until)
    if row.revoked:
        shown["revoked"] = int(row.revoked)
    return shown


def read_body(kind: type[Body], body: JsonObject) -> Body:
    """The body of a request to change keys; ConfigError with every mistake."""

    def problem(path: KeyPath, message: str) -> Problem:
        return Problem(message=message, path=dotted(path))

    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise ConfigError(problems_of(error, problem, kind, ())) from None
