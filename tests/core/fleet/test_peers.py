"""What gateways tell each other: pure, and one thing at a time."""

from __future__ import annotations

import random

import pytest
from rigs.telling import NOTHING, TERMS, WALL, Gateway, backend

from modgate.api.select import Backend
from modgate.fleet.cadence import LEAST_S, MOST_S, tells_each_s
from modgate.fleet.fleet import Fleet
from modgate.fleet.frames import Frame, RefusedFrame
from modgate.fleet.peers import CLOCKS_S, EXPIRES_S, PEERS_AT_MOST, REMEMBERED_S
from modgate.fleet.pick import Wanted
from modgate.fleet.pool import ALIKE
from modgate.fleet.shared_name import shared_name


def test_an_engine_of_several_models_is_told_of_once() -> None:
    here, there = Gateway(1), Gateway(2)
    there.take("m", "a", 100.0)
    there.take("n", "a", 20.0)
    there.take("o", "a", 3.0)
    here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)

    assert here.elsewhere() == {**NOTHING, "a": (3, 123.0)}
    assert {s.standing.elsewhere for s in here.fleet.pools["m"].seats} == {120.0, 0.0}


def test_who_is_silent_for_a_second_has_nothing_in_hand_and_who_leaves_at_once() -> None:
    here, one, two = Gateway(1), Gateway(2), Gateway(3)
    for each in (one, two):
        each.take("m", "a", 10.0)
        here.peers.hear(each.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    assert here.peers.heard_of == ["g2", "g3"]
    assert here.peers.hear(two.peers.farewell(WALL), 0.1, WALL)
    assert here.elsewhere()["a"] == (1, 10.0)
    assert here.peers.settle(EXPIRES_S + 0.01)

    assert here.elsewhere() == NOTHING
    assert not here.peers.settle(EXPIRES_S + 0.02)


def test_what_is_sent_from_here_is_supposed_of_each_other_until_it_tells() -> None:
    here, one, two = Gateway(1, ("a",)), Gateway(2), Gateway(3)
    for each in (one, two):
        here.peers.hear(each.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    pool = here.fleet.pools["m"]
    found = pool.choose(pool.seats, Wanted(work=10.0, terms=TERMS), 0.1, random.Random(1))
    assert found is not None
    assert found.seat.standing.elsewhere == 2 * 10.0 * ALIKE
    one.take("m", "a", 7.0)
    here.peers.hear(one.peers.frame(0.2, WALL), 0.2, WALL)
    assert found.seat.standing.elsewhere == 7.0 + 10.0 * ALIKE
    here.peers.settle(1.1)  # the other is silent

    assert found.seat.standing.elsewhere == 7.0


def test_of_a_full_engine_each_that_has_calls_may_have_its_share() -> None:
    here, one, two = Gateway(1, ("a",)), Gateway(2), Gateway(3)
    for _ in range(8):
        one.take("m", "a", 1.0)
    for each in (one, two):  # the other has nothing in hand anywhere
        here.peers.hear(each.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    [seat] = here.fleet.pools["m"].seats
    taken = 0
    while seat.free:
        seat.take(1.0)
        taken += 1
    assert taken == 4
    here.peers.settle(2.0)

    assert (seat.slots.share, seat.free) == (0, True)


def test_what_another_gives_back_is_known_and_told_with_its_next_frame() -> None:
    here, there = Gateway(1), Gateway(2)
    theirs = {seat.backend: seat for seat in there.fleet.pools["m"].seats}
    mine = {seat.backend: seat.slots for seat in here.fleet.pools["m"].seats}

    def heard() -> tuple[bool, int, int]:
        """Whether a place came free, the calls of the other, and what is ours all the same."""
        freed = here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)
        return freed, mine["a"].elsewhere, mine["a"].share

    there.take("m", "b", 1.0)
    for _ in range(3):
        there.take("m", "a", 1.0)
    heard()
    here.peers.settle(0.0)
    theirs["a"].give(1.0)
    assert heard() == (True, 2, 4)
    there.take("m", "a", 1.0)
    assert heard() == (False, 3, 4)
    for _ in range(3):
        theirs["a"].give(1.0)
    assert heard() == (True, 0, 0)


def test_a_gateway_that_has_nothing_to_tell_or_nobody_to_tell_it_to_seldom_tells() -> None:
    many = [f"e{number}" for number in range(50)]
    here, there = Gateway(1, many), Gateway(2, many)
    here.take("m", "e7", 1.0)
    assert here.peers.tells_each_s == MOST_S
    for gateway, other in ((here, there), (there, here)):
        gateway.peers.hear(other.peers.frame(0.0, WALL), 0.0, WALL)
        gateway.peers.settle(0.0)

    assert LEAST_S < here.peers.tells_each_s == tells_each_s(50, 2) < MOST_S
    assert there.peers.tells_each_s == MOST_S


def test_nobody_is_forgotten_for_the_time_in_which_nothing_could_be_heard() -> None:
    here, there = Gateway(1), Gateway(2)
    there.take("m", "a", 1.0)
    here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.stood_still(5.0)
    here.peers.settle(5.0 + EXPIRES_S)
    assert here.elsewhere()["a"] == (1, 1.0)
    here.peers.settle(5.1 + EXPIRES_S)

    assert here.elsewhere() == NOTHING


def test_pools_are_exact_only_while_it_is_known_that_nobody_else_is_there() -> None:
    here, there = Gateway(1), Gateway(2)
    pool = here.fleet.pools["m"]
    assert pool.exact
    here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    assert (pool.exact, pool.others) == (False, 1)
    here.peers.settle(2.0)
    assert (pool.exact, pool.others) == (True, 0)
    here.peers.settle(2.1, heard=False)
    assert not pool.exact
    here.peers.doubt(2.2)
    here.peers.settle(2.3)
    assert not pool.exact
    here.peers.settle(3.3)

    assert pool.exact


def test_a_reload_keeps_what_was_told_and_an_old_pool_supposes_nothing_more() -> None:
    here, there = Gateway(1), Gateway(2)
    there.take("m", "a", 10.0)
    there.state.standings["http://a:8000", "e"].paces["total"].learn(0.0, 2.0)
    here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    old = here.fleet.pools["m"]
    here.reload(("a",), 0.1)
    pace = here.state.standings["http://a:8000", "e"].paces["total"]

    assert here.elsewhere() == {**NOTHING, "a": (1, 10.0)}
    assert pace.value == 2.0
    assert (old.others, here.fleet.pools["m"].others) == (0, 1)
    assert (old.elsewhere, old.exact) == (0.0, False)
    here.reload(("b",), 0.2)
    assert here.elsewhere() == NOTHING
    pace.suppose(7.0)
    assert pace.value == 7.0  # nobody knows any more


def test_a_class_that_is_new_here_since_the_reload_is_counted_once_it_is_told() -> None:
    here, there = Gateway(1), Gateway(2)
    records = [
        each.state.standings["http://a:8000", "e"].record_of("silver", "total")
        for each in (here, there)
    ]
    here.peers.frame(0.0, WALL)
    for _ in range(2):
        records[1].judge(0.0, predicted=0.1, ratio=2.0)
        here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)

    assert (records[0].promised.n, records[0].promised.bad) == (1, 1)


def test_promises_and_errors_of_others_count_once_and_are_not_told_on() -> None:
    here, there = Gateway(1), Gateway(2)
    here.state.standings["http://a:8000", "e"].record_of("gold", "first_byte")
    here.peers.use(here.fleet.pools, 0.0)
    health = there.fleet.pools["m"].seats[0].health
    for number in range(4):
        if number < 3:
            health.failed(0.0, refused=False)
        else:
            health.succeeded(0.0)
        there.state.standings["http://a:8000", "e"].record_of("gold", "first_byte").judge(
            0.0, predicted=0.1, ratio=2.0
        )
        here.peers.hear(there.peers.frame(0.0, WALL), 0.1 * number, WALL)
    seat = here.fleet.pools["m"].seats[0]
    promised = seat.standing.record_of("gold", "first_byte").promised

    # The first frame is where counting begins.
    assert (promised.n, promised.bad, promised.seen) == (3, 3, 0)
    assert (seat.health.errors.n, seat.health.errors.bad, seat.health.errors.seen) == (3, 2, 0)


def test_estimates_are_made_of_those_who_are_there() -> None:
    here, there = Gateway(1), Gateway(2)
    paces = [g.fleet.pools["m"].seats[0].standing.paces["total"] for g in (here, there)]
    paces[0].learn(0.0, 1e-4)
    paces[1].learn(0.0, 3e-4)
    here.peers.hear(there.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)
    assert paces[0].value == pytest.approx(2e-4)
    here.peers.settle(2.0)

    assert paces[0].value == pytest.approx(1e-4)


def test_what_is_told_of_an_engine_that_is_not_there_counts_for_nothing() -> None:
    here, other = Gateway(1, ["a"]), Gateway(2, ["a", "b"])
    seats = {seat.backend: seat for seat in other.fleet.pools["m"].seats}
    for at, name in enumerate(["a", "a", "b", "b"]):
        other.take("m", name, 10.0)
        seats[name].standing.paces["first_byte"].learn(at / 10, 0.01 * (at + 1))
        here.peers.hear(other.peers.frame(at / 10, WALL + at / 10), at / 10, WALL)
        here.peers.settle(at / 10)

    assert here.elsewhere() == {**NOTHING, "a": (2, 20.0)}
    assert here.fleet.pools["m"].seats[0].standing.paces["first_byte"].value == pytest.approx(0.012)


def test_what_was_asked_of_a_pool_is_the_sum_of_all() -> None:
    here, there = Gateway(1), Gateway(2)
    pool = there.fleet.pools["m"]
    pool.choose(pool.seats, Wanted(work=100.0, terms=TERMS), 10.0, random.Random(1))
    here.peers.hear(there.peers.frame(11.0, WALL), 11.0, WALL)
    here.peers.settle(11.0)

    assert here.fleet.pools["m"].elsewhere == pool.offered(11.0) > 0
    assert here.fleet.pools["n"].elsewhere == 0


def test_an_old_frame_is_refused_for_as_long_as_its_clock_lets_it_live() -> None:
    here, there = Gateway(1), Gateway(2)
    first, second = there.peers.frame(0.0, WALL), there.peers.frame(0.0, WALL)
    here.peers.hear(second, 0.0, WALL)
    for now in (0.1, EXPIRES_S + 1, CLOCKS_S - 1):  # it was forgotten of work, not of its number
        here.peers.settle(now)
        with pytest.raises(RefusedFrame, match="replayed"):
            here.peers.hear(first, now, WALL + now)
    here.peers.settle(REMEMBERED_S + 1)
    with pytest.raises(RefusedFrame, match="clock"):
        here.peers.hear(first, REMEMBERED_S + 1, WALL + REMEMBERED_S + 1)
    with pytest.raises(RefusedFrame, match="clock"):
        here.peers.hear(first, 0.0, WALL - CLOCKS_S - 1)


def test_ones_own_frames_are_no_peers_and_show_that_they_come_through() -> None:
    here = Gateway(1)
    first, second = here.peers.frame(0.0, WALL), here.peers.frame(0.2, WALL)
    here.peers.hear(second, 0.3, WALL)
    assert here.peers.echoed_at == 0.3
    here.peers.hear(first, 0.9, WALL)

    assert here.peers.echoed_at == 0.3
    assert here.peers.heard_of == []


def test_more_gateways_than_there_are_places_are_refused_until_some_are_forgotten() -> None:
    here = Gateway(1)
    for number in range(PEERS_AT_MOST):
        here.peers.hear(Frame(gateway=number + 2, number=1, at=WALL), 0.0, WALL)
    with pytest.raises(RefusedFrame, match="too_many"):
        here.peers.hear(Frame(gateway=999, number=1, at=WALL), 0.0, WALL)
    here.peers.settle(REMEMBERED_S + 1)
    here.peers.hear(Frame(gateway=999, number=1, at=WALL), 0.0, WALL)


def test_an_engine_of_this_process_is_told_to_nobody() -> None:
    own = Gateway(1, ())
    own.fleet = Fleet(
        [backend("a", socket="/run/a"), backend("b")], own.state, groups={}, rng=random.Random(1)
    )
    own.peers.use(own.fleet.pools, 0.0)
    here = Gateway(2)
    for seat in own.fleet.pools["m"].seats:
        seat.take(5.0)
    here.peers.hear(own.peers.frame(0.0, WALL), 0.0, WALL)
    here.peers.settle(0.0)

    assert here.elsewhere() == {**NOTHING, "b": (1, 5.0)}
    [alone] = [seat.standing for seat in own.fleet.pools["m"].seats if seat.backend == "a"]
    alone.heard(5.0)  # as its pool supposes it
    own.peers.settle(0.0)
    assert alone.elsewhere == 0.0


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"])
def test_a_hosts_own_engine_is_not_the_one_of_another_host(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Backend(name="a", family="home", url=url, serves={})
    one = shared_name(here)
    monkeypatch.setattr("modgate.fleet.shared_name.this_network", lambda: "another")

    assert one != shared_name(here)
    assert shared_name(backend("a")) == "http://a:8000"
