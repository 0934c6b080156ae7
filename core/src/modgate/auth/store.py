"""The embedded store of tenants and keys: SQLite, behind the admin API and the command line.

Several gateways of one host may have it open.  Every change is one transaction that raises the
epoch and leaves a row in `changes`, so whoever polls the epoch knows what to read again, and who
did it.  Nothing here is on a request's path: gateways read it whole into a snapshot.

A migration only adds.  So a process reads and writes a store of its own version, of an older one
(which it migrates), and of the next (whose additions it does not see).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from modgate.api.json import JsonObject
from modgate.auth.table import Digest
from modgate.sqlite_file import SqliteFile

VERSION = 1
MIGRATIONS: Mapping[int, str] = {
    1: """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    INSERT INTO meta VALUES ('epoch', 0);
    CREATE TABLE tenants (
        name TEXT PRIMARY KEY, grant_json TEXT NOT NULL,
        created REAL NOT NULL, changed REAL NOT NULL
    );
    CREATE TABLE keys (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, env TEXT NOT NULL,
        last4 TEXT NOT NULL, grant_json TEXT NOT NULL,
        created REAL NOT NULL, digest TEXT NOT NULL, old_digest TEXT NOT NULL DEFAULT '',
        old_until REAL NOT NULL DEFAULT 0, revoked REAL NOT NULL DEFAULT 0
    );
    CREATE INDEX keys_by_tenant ON keys (tenant);
    CREATE TABLE changes (
        epoch INTEGER PRIMARY KEY, wall REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, detail TEXT NOT NULL
    );
    """
}
BUSY_S = 2.0
TENANTS_AT_MOST = 10_000
KEYS_AT_MOST = 100_000
CHANGES_KEPT = 10_000
REMOVED = "was removed while it was in use: put it back; a restart begins with an empty one"
DELTA_AT_MOST = 500  # changes that are read one by one; of more, all is read
ROW = (
    "SELECT id, tenant, name, env, last4, created, digest, grant_json, old_digest, old_until,"
    " revoked FROM keys"
)
CHANGE = ("epoch", "wall", "actor", "action", "subject", "detail")
REVOKED_KEPT_S = 90 * 86_400.0  # how long a revoked key is listed


class StoreError(Exception):
    """The store cannot do it, in words for whoever asked."""


class NotStored(StoreError):
    """There is no such tenant or key in the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key of the store.  Times are seconds since the epoch; 0 = never.

    `last4`: of its text, for people to know it by.  `old_digest` is good until `old_until`.
    """

    id: str
    tenant: str
    name: str
    env: str
    last4: str
    created: float
    digest: str
    grant: JsonObject = field(default_factory=dict)
    old_digest: str = ""
    old_until: float = 0.0
    revoked: float = 0.0

    def active(self, wall: float) -> tuple[Digest, ...]:
        """The digests that are good at a time: none, one, or two while it is rotated."""
        if self.revoked:
            return ()
        if self.old_until <= wall:
            return (Digest(value=self.digest),)
        return Digest(value=self.digest), Digest(value=self.old_digest, until=self.old_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """All that the store holds, as it was at one epoch of the file that was opened `opened`th."""

    epoch: int = 0
    opened: int = 0
    tenants: Mapping[str, JsonObject] = field(default_factory=dict)
    keys: tuple[KeyRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changed what."""

    epoch: int
    wall: float
    actor: str
    action: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What was changed since an epoch, as it is at another.

    `tenants`: their grants, None for one that is gone.  `keys`: those that were changed, and all of
    the tenants that were.
    """

    epoch: int
    changes: tuple[Change, ...] = ()
    tenants: Mapping[str, JsonObject | None] = field(default_factory=dict)
    keys: tuple[KeyRow, ...] = ()


class Store:
    """One open store; its calls are short, may be made from any thread, and come one at a time.

    StoreError when it cannot be opened, is too new, or stays locked by another process.  Another
    file of the name is opened (`opened` counts); where it was removed, none is made, and every call
    is a StoreError: an accident must not take every tenant away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0
        self._lock = threading.Lock()
        self._file: SqliteFile | None = None
        with self._lock, _told(path):
            self._open()

    def _open(self) -> None:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(
            self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._begun("BEGIN IMMEDIATE"):
            self._migrate()
        self._file = SqliteFile(self.path)
        self.opened += 1

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Nobody else, and the file that has its name now."""
        with self._lock, _told(self.path):
            if self._file is None or self._file.replaced(self._db):
                if not self.path.exists():
                    raise StoreError(f"{self.path} {REMOVED}")
                file, self._file = self._file, None
                file.close(self._db) if file is not None else self._db.close()
                self._open()
            yield

    def _migrate(self) -> None:
        self._db.execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY)")
        [(found,)] = self._db.execute("SELECT coalesce(max(version), 0) FROM migrations")
        if found > VERSION + 1:
            text = f"{self.path} is of version {found}; this modgate reads up to {VERSION + 1}"
            raise StoreError(text)
        for version in range(found + 1, VERSION + 1):
            for statement in MIGRATIONS[version].split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT INTO migrations VALUES (?)", (version,))

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        with self._held(), self._begun(begin):
            yield

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        self._db.execute(begin)
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _change(
        self, wall: float, actor: str, action: str, subject: str, detail: str
    ) -> Iterator[None]:
        """A transaction that raises the epoch and says who did what."""
        with self._transaction():
            yield
            [(epoch,)] = self._db.execute(
                "UPDATE meta SET value = value + 1 WHERE name = 'epoch' RETURNING value"
            )
            self._db.execute(
                "INSERT INTO changes (epoch, wall, actor, action, subject, detail)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (epoch, wall, actor, action, subject, detail),
            )
            self._db.execute("DELETE FROM changes WHERE epoch <= ?", (epoch - CHANGES_KEPT,))

    def epoch(self) -> int:
        """The number of changes so far."""
        with self._held():
            return self._epoch()

    def _epoch(self) -> int:
        [(epoch,)] = self._db.execute("SELECT value FROM meta WHERE name = 'epoch'")
        return int(epoch)

    def read(self) -> Stored:
        """Everything, at one epoch."""
        with self._transaction("BEGIN"):
            epoch = self._epoch()
            tenants = self._db.execute("SELECT name, grant_json FROM tenants ORDER BY name")
            grants = {str(name): orjson.loads(text) for name, text in tenants}
            keys = tuple(self._keys())
            return Stored(epoch=epoch, opened=self.opened, tenants=grants, keys=keys)

    def _keys(self, where: str = "", *values: str) -> Iterator[KeyRow]:
        for row in self._db.execute(" ".join((ROW, where, "ORDER BY tenant, created")), values):
            yield KeyRow(
                id=row[0],
                tenant=row[1],
                name=row[2],
                env=row[3],
                last4=row[4],
                created=row[5],
                digest=row[6],
                grant=orjson.loads(row[7]),
                old_digest=row[8],
                old_until=row[9],
                revoked=row[10],
            )

    def since(self, epoch: int, opened: int = 1) -> Delta | None:
        """What was changed since an epoch of a file; None when too much, or not known any more."""
        with self._transaction("BEGIN"):
            now = self._epoch()
            if opened != self.opened or not 0 <= now - epoch <= DELTA_AT_MOST:
                return None
            changes = tuple(self._changes(epoch))
            if len(changes) != now - epoch:
                return None
            names = {each.subject for each in changes if each.action.startswith("tenant.")}
            ids = {each.subject for each in changes if each.action.startswith("key.")}
            keys = [row for name in names for row in self._keys("WHERE tenant = ?", name)]
            keys += [row for key_id in ids for row in self._keys("WHERE id = ?", key_id)]
            tenants = {name: self._grant(name) for name in names}
        return Delta(epoch=now, changes=changes, tenants=tenants, keys=tuple(keys))

    def _grant(self, name: str) -> JsonObject | None:
        for (text,) in self._db.execute("SELECT grant_json FROM tenants WHERE name = ?", (name,)):
            grant: JsonObject = orjson.loads(text)
            return grant
        return None

    def tenant(self, name: str) -> tuple[JsonObject | None, list[KeyRow]]:
        """A tenant's grant, None for one that is not here, and the keys that are."""
        with self._transaction("BEGIN"):
            return self._grant(name), list(self._keys("WHERE tenant = ?", name))

    def changes(self, after: int) -> list[Change]:
        """The changes since an epoch, in order; the oldest are kept in part only."""
        with self._held():
            return list(self._changes(after))

    def _changes(self, after: int) -> Iterator[Change]:
        for row in self._db.execute(
            "SELECT epoch, wall, actor, action, subject, detail FROM changes"
            " WHERE epoch > ? ORDER BY epoch",
            (after,),
        ):
            yield Change(**dict(zip(CHANGE, row, strict=True)))

    def key(self, key_id: str) -> KeyRow:
        """One key; NotStored."""
        with self._held():
            for row in self._keys("WHERE id = ?", key_id):
                return row
        raise NotStored(f"no key '{key_id}' in {self.path.name}")

    def set_tenant(self, name: str, grant: JsonObject, *, actor: str, wall: float) -> None:
        """Add a tenant, or give it another grant (which was validated before)."""
        text = orjson.dumps(grant, option=orjson.OPT_SORT_KEYS).decode()
        with self._change(wall, actor, "tenant.set", name, text):
            [(others,)] = self._db.execute("SELECT count(*) FROM tenants WHERE name != ?", (name,))
            if others >= TENANTS_AT_MOST:
                raise StoreError(f"the store holds {TENANTS_AT_MOST} tenants at most")
            self._db.execute(
                "INSERT INTO tenants (name, grant_json, created, changed) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET grant_json = excluded.grant_json,"
                " changed = excluded.changed",
                (name, text, wall, wall),
            )

    def delete_tenant(self, name: str, *, actor: str, wall: float) -> int:
        """Remove a tenant and revoke its keys; the answer is how many.  NotStored."""
        with self._change(wall, actor, "tenant.delete", name, ""):
            gone = self._db.execute("DELETE FROM tenants WHERE name = ?", (name,))
            if not gone.rowcount:
                raise NotStored(f"no tenant '{name}' in {self.path.name}")
            revoked = self._db.execute(
                "UPDATE keys SET revoked = ?, digest = '', old_digest = '', old_until = 0"
                " WHERE tenant = ? AND revoked = 0",
                (wall, name),
            )
            return revoked.rowcount

    def add_key(self, row: KeyRow, *, actor: str) -> None:
        """Add a new key."""
        with self._change(row.created, actor, "key.new", row.id, f"{row.tenant} {row.name}"):
            self._db.execute(
                "DELETE FROM keys WHERE revoked > 0 AND revoked < ?",
                (row.created - REVOKED_KEPT_S,),
            )
            [(count,)] = self._db.execute("SELECT count(*) FROM keys")
            if count >= KEYS_AT_MOST:
                raise StoreError(f"the store holds {KEYS_AT_MOST} keys at most")
            self._db.execute(
                "INSERT INTO keys (id, tenant, name, env, last4, grant_json, created, digest)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(row.id, row.tenant, row.name, row.env, row.last4),
                    *(orjson.dumps(row.grant).decode(), row.created, row.digest),
                ),
            )

    def change_key(
        self, key_id: str, *, name: str, grant: JsonObject, actor: str, wall: float
    ) -> None:
        """Give a key another name and grant (which was validated before).  NotStored."""
        text = orjson.dumps(grant, option=orjson.OPT_SORT_KEYS).decode()
        with self._change(wall, actor, "key.change", key_id, text):
            turned = self._db.execute(
                "UPDATE keys SET name = ?, grant_json = ? WHERE id = ? AND revoked = 0",
                (name, text, key_id),
            )
            self._one(turned, key_id)

    def rotate_key(
        self, key_id: str, *, digest: str, last4: str, grace_s: float, actor: str, wall: float
    ) -> None:
        """Give a key another secret; the one before stays good for `grace_s`.

        NotStored also for a revoked key.
        """
        detail = f"the secret before is good for {grace_s:g} s"
        with self._change(wall, actor, "key.rotate", key_id, detail):
            turned = self._db.execute(
                "UPDATE keys SET old_digest = digest, old_until = ?, digest = ?, last4 = ?"
                " WHERE id = ? AND revoked = 0",
                (wall + grace_s, digest, last4, key_id),
            )
            self._one(turned, key_id)

    def revoke_key(self, key_id: str, *, actor: str, wall: float) -> None:
        """End a key for good: its digests are forgotten.  NotStored also for a revoked key."""
        with self._change(wall, actor, "key.revoke", key_id, ""):
            ended = self._db.execute(
                "UPDATE keys SET revoked = ?, digest = '', old_digest = '', old_until = 0"
                " WHERE id = ? AND revoked = 0",
                (wall, key_id),
            )
            self._one(ended, key_id)

    def _one(self, done: sqlite3.Cursor, key_id: str) -> None:
        if not done.rowcount:
            raise NotStored(f"no key '{key_id}' in {self.path.name} that is not revoked")

    def close(self) -> None:
        """Close it; a second time does nothing."""
        with self._lock:
            self._db.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's complaints, and the system's, in our words."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path} cannot be used: {getattr(error, 'strerror', error)}") from None
