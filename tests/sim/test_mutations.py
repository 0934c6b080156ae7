"""A pick that overlooks something is found out: what the other tests ask for is not kept then.

Each changes one part of it, and shows what that part is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from modgate.fleet.pick import Choice, Wanted
from modgate.fleet.rng import Rng
from modgate.fleet.slots import Seat
from sim.ours import Gateway, Ours
from sim.runs import SLOWEST_S, UNSEEN, ran, scenario
from sim.world import FAST, MID, Result, Scenario, World

# It only computes, for as long as a busy machine takes; this is for what would never end.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PICK = "modgate.fleet.pick"
SECONDS = {1: 200.0, 8: 100.0}  # of a run, by gateways: a second of eight costs six times as much


def drawn(gateways: int) -> Scenario:
    """What all of them are tried with."""
    return replace(scenario(UNSEEN[0], gateways), seconds=SECONDS[gateways])


def run(gateways: int) -> Result:
    """With the pick as it is now."""
    return World(drawn(gateways), Ours(drawn(gateways), told_each_s=SLOWEST_S)).run()


def whole(gateways: int) -> Result:
    """With nothing changed; made once, so it is to be asked for before anything is."""
    return ran("ours", drawn(gateways), told_each_s=SLOWEST_S)


def keeps(result: Result, gateways: int) -> bool:
    """Whether it is as good as the pick has to be."""
    share, late_s = (99.0, 1.0) if gateways == 1 else (97.0, 1.5)
    return result.kept() >= share and result.first_s(0.99) <= late_s


@pytest.fixture(autouse=True)
def _the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way has its own copy of what is changed, and decides the same."""
    monkeypatch.setattr("modgate.fleet.pool.quick", lambda *args, **kwargs: None)


@pytest.mark.parametrize("gateways", [1, 8])
def test_the_whole_pick_is_good_enough(gateways: int) -> None:
    assert keeps(whole(gateways), gateways)


def test_work_in_hand_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgate.fleet.drain.ahead", lambda seat, work, phase: 0.0)

    assert run(1).kept() < 50.0


def test_how_fast_engines_are_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def idlest(seats: Sequence[Seat], predicted: Sequence[float], rng: Rng, *_: object) -> Seat:
        return min(seats, key=lambda seat: (seat.standing.work, rng.random()))

    monkeypatch.setattr(f"{PICK}.least", idlest)

    assert not keeps(run(1), 1)


def test_any_that_fits_is_not_as_good_as_the_soonest(monkeypatch: pytest.MonkeyPatch) -> None:
    def any_of(seats: Sequence[Seat], predicted: Sequence[float], rng: Rng, *_: object) -> Seat:
        return seats[int(rng.random() * len(seats))]

    monkeypatch.setattr(f"{PICK}.least", any_of)

    assert not keeps(run(8), 8)


def test_all_engines_are_not_compared_by_what_is_only_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gateways that all see the same engine idle all send to it."""
    unchanged = whole(8)
    monkeypatch.setattr(f"{PICK}.drawn_of", lambda seats, rng: seats)

    assert run(8).kept() < unchanged.kept() - 0.5


def test_what_others_have_in_hand_is_needed() -> None:
    assert not keeps(World(drawn(8), Ours(drawn(8), view=False)).run(), 8)


class Narrow(Ours):
    """Counts calls that were sent to a full engine while another had room."""

    overfull = 0

    def _chosen(self, gateway: Gateway, wanted: Wanted, now: float) -> Choice:
        room = any(seat.free for seat in gateway.seats)
        choice = super()._chosen(gateway, wanted, now)
        self.overfull += room and not choice.seat.free
        return choice


@pytest.mark.parametrize("counted", [True, False])
def test_slots_are_needed(monkeypatch: pytest.MonkeyPatch, counted: bool) -> None:
    """Before two fast engines that take four calls at once, and two slower ones."""
    if not counted:
        monkeypatch.setattr(f"{PICK}.with_room", lambda seats: seats)
    kinds = (replace(FAST, slots=4),) * 2 + (MID,) * 2
    few = Scenario(kinds=kinds, rate_per_s=8.0, gateways=1, seconds=40.0)
    policy = Narrow(few)
    World(few, policy).run()

    assert (policy.overfull == 0) == counted
