"""What a caller says is read in its regions only; whoever receives it says so, and nobody else.

Two checks stand behind each other on each way to an engine: the pick leaves out what stands
elsewhere, and the last check before a byte leaves (`guard_residency`) stops what a pick let
through; so it must never have anything to stop.  To see that each does all of it by itself, the
world is crossed three times: as it is, with a pick that knows no regions, and with a key of merged
calls that knows none.  Every mutation takes one check from one way, and must be found by one of
the three.

`MODGATE_OPERATIONS=100000` crosses that many topologies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from rigs.crossings import WAYS, Crossing, crossing, way_of

import modgate.dispatch
import modgate.fleet.pick
import modgate.order
from modgate.api.auth import Caller
from modgate.api.select import Backend
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted, allowed
from modgate.gateway import Gateway
from modgate.order import Order, batch_group

TOPOLOGIES = int(os.environ.get("MODGATE_OPERATIONS", "1000"))
BLIND = max(300, TOPOLOGIES // 10)  # of those that a broken gateway is put into
SOON = 1000  # within so many a mutation is found
EACH_WAY = 10  # calls at least, of so many topologies: else the world proves nothing

Change = Callable[[pytest.MonkeyPatch, Crossing], None]


def as_it_is(patch: pytest.MonkeyPatch, world: Crossing) -> None:
    """Nothing is broken."""


def blind_pick(patch: pytest.MonkeyPatch, world: Crossing) -> None:
    """The pick knows no regions."""

    def anywhere(seat: Any, wanted: Wanted) -> bool:
        return allowed(seat, structs.replace(wanted, regions=None))

    patch.setattr(modgate.fleet.pick, "allowed", anywhere)


def blind_key(patch: pytest.MonkeyPatch, world: Crossing) -> None:
    """Calls of any regions may share a trip."""
    patch.setattr(modgate.order, "batch_group", lambda caller: batch_group(caller)[0])


async def crossed(
    folder: Path, topologies: int, *changes: Change, stop: bool = False
) -> tuple[Crossing, list[str]]:
    """What is found in so many topologies; `stop`: at the first find."""
    async with crossing(folder) as world:
        with pytest.MonkeyPatch.context() as patch:
            for change in changes:
                change(patch, world)
            for seed in range(topologies):
                await world.topology(seed)
                if stop and found(world, changes[0]):
                    break
    return world, found(world, changes[0])


def found(world: Crossing, setting: Change) -> list[str]:
    """What is wrong: something was read where it may not be; where all is as it should be, the
    last check had something to stop.
    """
    stopped = [f"{n} stopped ({way})" for way, n in world.passports.stopped.items()]
    return world.frontier.outside + (stopped if setting is as_it_is else [])


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_nothing_is_read_outside_and_the_last_check_has_nothing_to_stop(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    world, wrong = await crossed(tmp_path, TOPOLOGIES, as_it_is)
    sent, read = world.passports.sent, world.frontier.read
    figure(f"{TOPOLOGIES} topologies: calls sent {dict(sent)}, read in {dict(read)}, outside 0")

    assert wrong == []
    assert world.statuses[500] == 0
    assert min(sent[way] for way in WAYS) > EACH_WAY * TOPOLOGIES // 1000


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "ways"), [(blind_pick, WAYS), (blind_key, ("batch",))])
async def test_the_last_check_stops_alone_whatever_a_broken_gateway_would_send(
    tmp_path: Path, setting: Change, ways: Sequence[str]
) -> None:
    world, wrong = await crossed(tmp_path, BLIND, setting)

    assert wrong == []
    assert {way for way, stopped in world.passports.stopped.items() if stopped} == {*ways}


@dataclass(frozen=True, slots=True)
class Unfiltered:
    """The pick of calls that go this way knows no regions."""

    way: str

    def __call__(self, patch: pytest.MonkeyPatch, world: Crossing) -> None:
        wanted = Order.new_wanted

        def anywhere(order: Order) -> Wanted:
            made = wanted(order)
            return structs.replace(made, regions=None) if way_of(order) == self.way else made

        patch.setattr(Order, "new_wanted", anywhere)


@dataclass(frozen=True, slots=True)
class Unguarded:
    """The last check lets pass what goes this way."""

    way: str

    def __call__(self, patch: pytest.MonkeyPatch, world: Crossing) -> None:
        guard = modgate.dispatch.guard_residency

        def lax(backend: Backend, caller: Caller) -> None:
            if world.passports.way != self.way:
                guard(backend, caller)

        patch.setattr(modgate.dispatch, "guard_residency", lax)


def first_member_only(patch: pytest.MonkeyPatch, world: Crossing) -> None:
    """The last check looks at one member of a merged call."""
    guard = modgate.dispatch.guard_residency

    def lax(backend: Backend, caller: Caller) -> None:
        order = world.passports.order
        assert order is not None
        if caller is order.caller:
            guard(backend, caller)

    patch.setattr(modgate.dispatch, "guard_residency", lax)


def blind_before_fallback(patch: pytest.MonkeyPatch, world: Crossing) -> None:
    """Whoever would go to another model looks everywhere for a backend that keeps its promise."""
    look = Fleet.before_fallback

    def anywhere(fleet: Fleet, model: str, wanted: Wanted) -> Lease | None:
        return look(fleet, model, structs.replace(wanted, regions=None))

    patch.setattr(Fleet, "before_fallback", anywhere)


def unguarded_fetch(patch: pytest.MonkeyPatch, world: Crossing) -> None:
    """Files are fetched wherever they are."""
    patch.setattr(Gateway, "guard_fetch", lambda gateway, caller: None)


@pytest.mark.parametrize(
    ("setting", "mutation"),
    [
        *((as_it_is, Unfiltered(way)) for way in WAYS if way != "batch"),
        (as_it_is, blind_key),  # it is the key that chooses who goes along
        *((blind_pick, Unguarded(way)) for way in WAYS),
        (blind_key, first_member_only),
        (as_it_is, blind_before_fallback),
        (as_it_is, unguarded_fetch),
    ],
    ids=lambda change: getattr(change, "__name__", str(change)),  # never an address
)
async def test_a_check_that_is_taken_from_one_way_is_missed(
    tmp_path: Path, setting: Change, mutation: Change
) -> None:
    _, wrong = await crossed(tmp_path, SOON, setting, mutation, stop=True)

    assert wrong
