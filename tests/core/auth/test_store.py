"""The store of tenants and keys: epochs, rotation, other processes, and other versions."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from modgate.auth import store as module
from modgate.auth.store import KeyRow, NotStored, Store, StoreError

GOLDEN = Path(__file__).parent / "golden" / "tenants-v1.sql"
DAY_S = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenants.db"


def key(key_id: str = "abcdefghijkl", *, tenant: str = "acme", created: float = 5.0) -> KeyRow:
    return KeyRow(
        id=key_id,
        tenant=tenant,
        name="ci",
        env="live",
        last4="9xYz",
        created=created,
        digest="d" * 64,
        grant={"models": ["chat"]},
    )


def test_a_tenant_that_was_set_is_read_with_the_epoch_of_the_change(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {"models": ["chat"]}, actor="me", wall=1.0)
    store.set_tenant("acme", {"slo": "gold"}, actor="me", wall=2.0)

    found = store.read()

    assert found.tenants == {"acme": {"slo": "gold"}}
    assert found.epoch == store.epoch() == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_process_sees_a_change_by_the_epoch(path: Path) -> None:
    one, two = Store(path), Store(path)

    one.add_key(key(), actor="me")
    assert two.epoch() == 1
    two.revoke_key("abcdefghijkl", actor="you", wall=9.0)

    [row] = one.read().keys
    assert row.revoked == 9.0
    assert not row.active(10.0)


def test_while_a_key_is_rotated_two_digests_are_good(path: Path) -> None:
    store = Store(path)
    store.add_key(key(), actor="me")
    store.rotate_key(
        "abcdefghijkl", digest="e" * 64, last4="1234", grace_s=60.0, actor="me", wall=100.0
    )

    row = store.key("abcdefghijkl")

    assert [each.value[0] for each in row.active(159.0)] == ["e", "d"]
    assert [each.value[0] for each in row.active(160.0)] == ["e"]
    assert row.last4 == "1234"


def test_a_second_rotation_ends_the_first_secret_at_once(path: Path) -> None:
    store = Store(path)
    store.add_key(key(), actor="me")
    for digest, wall in (("e", 100.0), ("f", 110.0)):
        store.rotate_key(
            "abcdefghijkl", digest=digest * 64, last4="1234", grace_s=60.0, actor="me", wall=wall
        )

    [new, old] = store.key("abcdefghijkl").active(120.0)

    assert (new.value[0], old.value[0]) == ("f", "e")


def test_a_revoked_key_cannot_come_back(path: Path) -> None:
    store = Store(path)
    store.add_key(key(), actor="me")
    store.revoke_key("abcdefghijkl", actor="me", wall=6.0)

    with pytest.raises(NotStored, match="not revoked"):
        store.rotate_key(
            "abcdefghijkl", digest="e" * 64, last4="1234", grace_s=60.0, actor="me", wall=7.0
        )
    with pytest.raises(NotStored, match="not revoked"):
        store.revoke_key("abcdefghijkl", actor="me", wall=7.0)
    with pytest.raises(NotStored, match="not revoked"):
        store.change_key("abcdefghijkl", name="x", grant={}, actor="me", wall=7.0)

    assert not store.key("abcdefghijkl").digest


def test_deleting_a_tenant_revokes_its_keys_and_no_others(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    store.add_key(key(), actor="me")
    store.add_key(key("bbbbbbbbbbbb", tenant="beta"), actor="me")

    revoked = store.delete_tenant("acme", actor="me", wall=2.0)

    assert revoked == 1
    assert [row.tenant for row in store.read().keys if not row.revoked] == ["beta"]
    with pytest.raises(NotStored, match="no tenant 'acme'"):
        store.delete_tenant("acme", actor="me", wall=3.0)


def test_a_change_that_fails_leaves_neither_an_epoch_nor_a_record(path: Path) -> None:
    store = Store(path)
    with pytest.raises(NotStored):
        store.revoke_key("abcdefghijkl", actor="me", wall=6.0)

    assert store.epoch() == 0
    assert store.changes(0) == []


def test_who_changed_what_is_read_from_an_epoch_on(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {"slo": "gold"}, actor="ann", wall=1.0)
    store.add_key(key(), actor="bob")

    [change] = store.changes(1)

    assert (change.actor, change.action, change.subject) == ("bob", "key.new", "abcdefghijkl")
    assert (change.epoch, change.wall, change.detail) == (2, 5.0, "acme ci")


def test_the_record_of_changes_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHANGES_KEPT", 3)
    store = Store(path)
    for turn in range(9):
        store.set_tenant("acme", {}, actor="me", wall=float(turn))

    assert [change.epoch for change in store.changes(0)] == [7, 8, 9]


def test_tenants_and_keys_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TENANTS_AT_MOST", 1)
    monkeypatch.setattr(module, "KEYS_AT_MOST", 1)
    store = Store(path)
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    store.set_tenant("acme", {"slo": "gold"}, actor="me", wall=2.0)
    store.add_key(key(), actor="me")

    with pytest.raises(StoreError, match="1 tenants at most"):
        store.set_tenant("beta", {}, actor="me", wall=3.0)
    with pytest.raises(StoreError, match="1 keys at most"):
        store.add_key(key("bbbbbbbbbbbb"), actor="me")


def test_a_revoked_key_is_listed_for_ninety_days(path: Path) -> None:
    store = Store(path)
    store.add_key(key(), actor="me")
    store.revoke_key("abcdefghijkl", actor="me", wall=10.0)
    store.add_key(key("bbbbbbbbbbbb", created=10.0 + 89 * DAY_S), actor="me")
    assert len(store.read().keys) == 2
    store.add_key(key("cccccccccccc", created=11.0 + 90 * DAY_S), actor="me")

    assert [row.id[0] for row in store.read().keys] == ["b", "c"]


def test_a_file_that_is_no_store_is_told_by_its_name(path: Path) -> None:
    path.write_text("these are the wrong bytes" * 100)

    with pytest.raises(StoreError, match=r"tenants\.db cannot be used"):
        Store(path)


def test_a_store_that_another_process_holds_is_given_up_in_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    store = Store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match="locked"):
        store.set_tenant("acme", {}, actor="me", wall=1.0)
    assert store.epoch() == 0
    other.execute("ROLLBACK")
    other.close()
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    assert store.epoch() == 1


# --- versions


def test_the_store_as_version_1_wrote_it_is_read(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(GOLDEN.read_text())
    store = Store(path)

    found = store.read()

    assert found.epoch == 3
    assert found.tenants == {"acme": {"models": ["chat"], "slo": "gold"}}
    [row] = found.keys
    assert (row.id, row.last4, row.grant) == ("abcdefghijkl", "1234", {"models": ["chat"]})
    assert [each.value[0] for each in row.active(101.0)] == ["e", "d"]
    assert [change.actor for change in store.changes(0)] == ["ann", "bob", "ann"]


def test_two_versions_side_by_side_read_and_write_one_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Store(path)
    old.set_tenant("acme", {"slo": "gold"}, actor="old", wall=1.0)
    monkeypatch.setattr(module, "VERSION", 2)
    added = {2: "ALTER TABLE keys ADD COLUMN note TEXT NOT NULL DEFAULT ''"}
    monkeypatch.setattr(module, "MIGRATIONS", {**module.MIGRATIONS, **added})
    new = Store(path)
    monkeypatch.undo()

    new.add_key(key(), actor="new")
    old.set_tenant("beta", {}, actor="old", wall=2.0)
    again = Store(path)

    for store in (old, new, again):
        found = store.read()
        assert (found.epoch, list(found.tenants), len(found.keys)) == (3, ["acme", "beta"], 1)


def test_a_store_from_two_versions_on_is_refused(path: Path) -> None:
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO migrations VALUES (3)")

    with pytest.raises(StoreError, match="version 3; this modgate reads up to 2"):
        Store(path)


# --- what was changed since


def test_what_was_changed_since_an_epoch_is_read_and_nothing_else(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    store.set_tenant("gone", {}, actor="me", wall=1.0)
    store.add_key(key(), actor="me")
    store.add_key(key("bbbbbbbbbbbb", tenant="beta"), actor="me")
    before = store.epoch()
    store.set_tenant("acme", {"slo": "gold"}, actor="me", wall=2.0)
    store.delete_tenant("gone", actor="me", wall=2.0)
    store.revoke_key("bbbbbbbbbbbb", actor="me", wall=2.0)
    delta = store.since(before)

    assert delta is not None
    assert (delta.epoch, [each.action for each in delta.changes]) == (
        7,
        ["tenant.set", "tenant.delete", "key.revoke"],
    )
    assert delta.tenants == {"acme": {"slo": "gold"}, "gone": None}
    assert [(row.id[0], row.revoked) for row in delta.keys] == [("a", 0.0), ("b", 2.0)]


def test_changes_that_are_too_many_or_not_known_any_more_are_not_told_one_by_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELTA_AT_MOST", 3)
    monkeypatch.setattr(module, "CHANGES_KEPT", 2)
    store = Store(path)
    for turn in range(6):
        store.set_tenant("acme", {}, actor="me", wall=float(turn))

    assert store.since(2) is None  # too many
    assert store.since(3) is None  # one is forgotten
    assert store.since(7) is None  # of a store before this one
    assert store.since(4) is not None
    assert store.since(6) is not None


def test_a_file_that_was_removed_is_missed_and_takes_no_change(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    path.rename(path.with_name("away"))
    for ask in (store.epoch, store.read, lambda: store.add_key(key(), actor="me")):
        with pytest.raises(StoreError, match="was removed while it was in use: put it back"):
            ask()
    assert not path.exists()
    path.with_name("away").rename(path)

    assert store.read().tenants == {"acme": {}}
    assert store.opened == 1


def test_a_file_that_takes_its_place_is_read_whole(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    before = store.read()
    other = Store(path.with_name("other.db"))
    other.set_tenant("beta", {}, actor="me", wall=1.0)
    other.close()
    path.with_name("other.db").rename(path)

    assert store.since(before.epoch, before.opened) is None
    after = store.read()
    assert (after.tenants, after.epoch, after.opened) == ({"beta": {}}, before.epoch, 2)
    store.set_tenant("gamma", {}, actor="me", wall=1.0)
    assert set(Store(path).read().tenants) == {"beta", "gamma"}
    assert store.since(after.epoch, after.opened) is not None


def test_a_copy_that_is_written_over_it_counts_from_then_on_and_breaks_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.sqlite_file.STILL_S", 0.0)
    store, copy = Store(path), path.with_name("copy")
    for number in range(300):
        store.set_tenant(f"t{number}", {}, actor="me", wall=1.0)
        if number == 99:
            with closing(sqlite3.connect(path)) as db:
                db.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert store.epoch() == 300
    path.write_bytes(copy.read_bytes())

    assert (len(store.read().tenants), store.opened) == (100, 2)
    store.set_tenant("later", {}, actor="me", wall=1.0)
    store.close()
    assert len(Store(path).read().tenants) == 101


def test_of_two_who_share_what_was_copied_over_it_one_gives_it_a_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modgate.sqlite_file.STILL_S", 0.0)
    store, other, copy = Store(path), Store(path), path.with_name("copy")
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM INTO ?", (str(copy),))
        db.execute("CREATE TABLE spare AS SELECT zeroblob(1000000) AS room")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert store.epoch() == other.epoch() == 0
    path.write_bytes(copy.read_bytes())
    real = shutil.copyfile

    def meanwhile(source: Path, target: Path) -> None:
        monkeypatch.setattr(shutil, "copyfile", real)
        other.set_tenant("theirs", {}, actor="me", wall=1.0)
        real(source, target)

    monkeypatch.setattr(shutil, "copyfile", meanwhile)

    assert set(store.read().tenants) == set(other.read().tenants) == {"theirs"}
    assert sorted(path.parent.iterdir()) == sorted(
        [path, copy, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]
    )


def test_a_file_that_is_made_smaller_by_sqlite_is_the_same(path: Path) -> None:
    """Its journal goes into it long after the VACUUM was committed."""
    store = Store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE spare AS SELECT zeroblob(1000000) AS room")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.set_tenant("before", {}, actor="me", wall=1.0)
        db.execute("DROP TABLE spare")
        db.execute("VACUUM")
        store.set_tenant("between", {}, actor="me", wall=1.0)
        large = path.stat().st_size
        db.execute("PRAGMA wal_checkpoint")
        small = path.stat().st_size

    assert small < large
    assert set(store.read().tenants) == {"before", "between"}
    assert store.opened == 1


def test_what_is_no_store_in_its_place_is_refused_until_it_is_away(path: Path) -> None:
    store = Store(path)
    store.set_tenant("acme", {}, actor="me", wall=1.0)
    path.rename(path.with_name("away"))
    path.write_text("no database")
    for _ in range(2):
        with pytest.raises(StoreError, match="not a database"):
            store.epoch()
    path.unlink()
    path.mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"tenants\.db cannot be used: Is a directory"):
            store.epoch()
    path.rmdir()
    path.with_name("away").rename(path)

    assert store.read().tenants == {"acme": {}}
