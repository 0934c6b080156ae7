"""Who may call, by file and store: what is made of a change alone is what is made of everything."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from made_configs import PLUGINS, Config

from modgate.api.secret import Secret
from modgate.auth.keys import StoredKey
from modgate.auth.store import KeyRow, Store, StoreError
from modgate.host.installed import Installed
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import Blueprint, blueprint_of
from modgate.snapshot.callers import Roster, RosterMaker
from modgate.snapshot.registrar import Declared, Registrar

FILE = '[plugin.words]\n[model.chat]\nmodality = "words"\n[tenant.file]\nmodels = ["chat"]\n'
GRANTS = ({}, {"models": ["chat"]}, {"limits": {"requests": "5/s"}}, {"models": ["gone"]})
NAMES = ("a", "b", "file")


@pytest.fixture
def made(tmp_path: Path) -> Blueprint:
    path = Config(tmp_path).write(FILE)
    return blueprint_of(path, installed=Installed(), extra=PLUGINS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "tenants.db")) as opened:
        yield opened


def maker(made: Blueprint) -> RosterMaker:
    return RosterMaker(made.linked, made.known, made.keys)


def change(store: Store, rng: random.Random, wall: float) -> None:
    """One change of some kind; what cannot be done is not."""
    name, grant = rng.choice(NAMES), rng.choice(GRANTS)
    known = [row.id for row in store.read().keys] or ["none"]
    key_id = rng.choice(known)
    row = KeyRow(
        id=f"key-{rng.getrandbits(40):x}",
        tenant=name,
        name="",
        env="live",
        last4="",
        created=wall,
        digest=rng.randbytes(32).hex(),
        grant=rng.choice(GRANTS),
    )
    digest = rng.randbytes(32).hex()
    does = (
        lambda: store.set_tenant(name, grant, actor="me", wall=wall),
        lambda: store.delete_tenant(name, actor="me", wall=wall),
        lambda: store.add_key(row, actor="me"),
        lambda: store.revoke_key(key_id, actor="me", wall=wall),
        lambda: store.rotate_key(
            key_id, digest=digest, last4="", grace_s=rng.choice((0, 1e6)), actor="me", wall=wall
        ),
    )
    try:
        rng.choices(does, (3, 1, 6, 2, 3))[0]()
    except StoreError:
        return


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_roster_that_was_renewed_is_the_roster_of_everything(
    made: Blueprint, store: Store, seed: int
) -> None:
    rng = random.Random(seed)
    known = maker(made).whole(store.read(), 0.0)
    compared = 0
    for turn in range(150):
        wall = float(turn)
        for _ in range(rng.randrange(1, 4)):
            change(store, rng, wall)
        delta = store.since(known.epoch)
        assert delta is not None
        known = maker(made).renewed(known, delta, wall)
        whole = maker(made).whole(store.read(), wall)
        unfit = {each.path.split(".")[1] for each in whole.problems}
        for name in {*known.tenants, *whole.tenants} - unfit:
            assert known.tenants[name] == whole.tenants[name]
        for key_id in {*known.holders, *whole.holders}:
            mine = known.holders.get(key_id)
            if mine is None or mine.caller.tenant not in unfit:
                assert mine == whole.holders.get(key_id)
                compared += 1

    assert compared > 100


def test_a_tenant_whose_new_grant_does_not_fit_stays_as_it_was(
    made: Blueprint, store: Store
) -> None:
    store.set_tenant("a", {"models": ["chat"]}, actor="me", wall=1.0)
    before = maker(made).whole(store.read(), 1.0)
    store.set_tenant("a", {"models": ["gone"]}, actor="me", wall=2.0)
    delta = store.since(before.epoch)
    assert delta is not None
    after = maker(made).renewed(before, delta, 2.0)

    assert after.tenants["a"] == before.tenants["a"]
    assert [str(each) for each in after.problems] == [
        "the store of tenants: tenant.a.models[0]: no [model.gone]"
    ]


def test_a_key_of_the_store_may_be_of_a_tenant_of_the_file_and_of_none_that_is_gone(
    made: Blueprint, store: Store
) -> None:
    registrar = Registrar(store, made, Secret("pepper"), actor="me")
    _, row = registrar.new_key("file", name="ci", env="live", grant={}, wall=1.0)
    registrar.set_tenant("a", {}, 1.0)
    registrar.new_key("a", name="ci", env="live", grant={}, wall=1.0)
    store.delete_tenant("a", actor="me", wall=2.0)
    found: Roster = maker(made).whole(store.read(), 3.0)

    [holder] = found.holders.values()
    assert (holder.caller.tenant, holder.caller.key_id) == ("file", row.id)
    assert holder.caller.policy is made.linked.tenants[0].policy
    assert (found.policy("file"), found.policy("a")) == (holder.caller.policy, None)


def test_nobody_changes_by_the_registrar_what_a_file_declares(
    made: Blueprint, store: Store
) -> None:
    of_file = StoredKey(id="z" * 12, digest="0" * 64)
    declared = Blueprint(
        linked=made.linked,
        loaded=made.loaded,
        source=made.source,
        known=made.known,
        keys=[("file", of_file)],
    )
    registrar = Registrar(store, declared, Secret("pepper"), actor="me")

    for refused in (
        lambda: registrar.set_tenant("file", {}, 1.0),
        lambda: registrar.delete_tenant("file", 1.0),
        lambda: registrar.revoke_key("z" * 12, 1.0),
        lambda: registrar.rotate_key("z" * 12, grace_s=0.0, wall=1.0),
    ):
        with pytest.raises(Declared, match="change it there"):
            refused()
    with pytest.raises(ConfigError):
        registrar.set_tenant("demo", {}, 1.0)
    assert store.epoch() == 0
