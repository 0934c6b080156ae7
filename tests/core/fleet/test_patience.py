"""How long an engine is waited for, and what it says of it that it was given up."""

from __future__ import annotations

import random
from math import inf

import pytest

from modgate.api.select import Backend
from modgate.errors import UpstreamTimedOut
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms

TARGET_S = 2.0


class World:
    """Two engines with calls of one class, and a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = FleetState()
        backends = [
            Backend(name=name, family="home", url=f"http://{name}", serves={"m": "e"}, slots=8)
            for name in ("a", "b")
        ]
        self.fleet = Fleet(
            backends, self.state, groups={}, rng=random.Random(1), now=lambda: self.now
        )

    def begin(self, *, slo: str = "gold", longest_s: float = TARGET_S) -> Lease:
        """A call at `a`."""
        terms = Terms(slo=slo, phase="first_byte", target_s=TARGET_S, longest_s=longest_s)
        wanted = Wanted(work=1.0, tried=frozenset({"b"}), terms=terms)
        lease = self.fleet.at_once("m", wanted)
        assert lease is not None
        assert lease.backend.name == "a"
        return lease

    def give_up(self, lease: Lease) -> None:
        lease.give_back("timed_out", UpstreamTimedOut("late"))

    @property
    def word(self) -> str:
        return self.state.health_of("http://a").state(self.now)


def test_an_engine_of_which_nothing_was_heard_is_ejected_after_two_calls() -> None:
    world = World()
    words = []
    for _ in range(2):
        lease = world.begin()
        world.now += 4
        world.give_up(lease)
        words.append(world.word)

    assert words == ["probation", "ejected"]


@pytest.mark.parametrize("sign", ["first event", "end"])
def test_a_sign_of_life_from_another_call_speaks_for_it(sign: str) -> None:
    world = World()
    for _ in range(4):
        lease, other = world.begin(), world.begin()
        world.now += 4
        other.first() if sign == "first event" else other.give_back("ok")
        world.give_up(lease)
        other.give_back()

    assert world.word == "probation"


def test_what_was_heard_before_a_call_began_does_not_speak_for_it() -> None:
    world = World()
    world.begin().give_back("ok")
    world.now += 1
    leases = [world.begin() for _ in range(2)]
    world.now += 4
    for lease in leases:
        world.give_up(lease)

    assert world.word == "ejected"


def test_a_call_that_was_given_up_broke_its_promise_and_makes_the_engine_slower() -> None:
    world = World()
    standing = world.state.standing_of("http://a", "e")
    for seconds in (0.5, 4.0):
        lease = world.begin()
        world.now += seconds
        if seconds < 1:
            lease.first()
            lease.give_back("ok", events=2)
        else:
            known = standing.paces["first_byte"].own
            world.give_up(lease)
    kept = standing.record_of("gold", "first_byte").all

    assert standing.paces["first_byte"].own > known
    assert (kept.n, kept.bad) == (2, 1)


def test_that_a_call_was_given_up_soon_makes_no_engine_faster() -> None:
    world = World()
    slow = world.begin()
    world.now += 8
    slow.first()
    slow.give_back("ok", events=2)
    known = world.state.standing_of("http://a", "e").paces["first_byte"].own
    lease = world.begin()
    world.now += 4
    world.give_up(lease)

    assert world.state.standing_of("http://a", "e").paces["first_byte"].own == known


def test_what_stalls_behind_its_first_event_is_no_broken_promise() -> None:
    world = World()
    for _ in range(2):
        lease = world.begin()
        lease.first()
        world.now += 4
        world.give_up(lease)
    kept = world.state.standing_of("http://a", "e").record_of("gold", "first_byte").all

    assert world.word == "probation"
    assert kept.bad == 0


def test_patience_is_twice_what_was_promised_for_the_longest_reply() -> None:
    world = World()
    patience = world.begin(longest_s=5.0).patience_s

    assert patience == 10.0


def test_patience_has_a_least_and_none_is_needed_where_nothing_is_promised() -> None:
    world = World()

    assert world.begin(longest_s=0.01).patience_s == 1.0
    assert world.begin(slo="").patience_s == inf


def test_what_was_predicted_to_be_late_is_waited_for_as_much_longer() -> None:
    world = World()
    slow = world.begin()
    world.now += 8
    slow.first()
    slow.give_back("ok", events=2)

    assert world.begin().patience_s == pytest.approx(2 * 8.0)


@pytest.mark.parametrize(("waited_s", "slower"), [(8.0, True), (0.1, False)])
def test_a_client_that_leaves_unanswered_says_how_long_it_took_at_least(
    waited_s: float, slower: bool
) -> None:
    world = World()
    standing = world.state.standing_of("http://a", "e")
    for seconds, ended in ((0.5, "ok"), (waited_s, "cancelled")):
        lease = world.begin()
        known = standing.paces["first_byte"].own
        world.now += seconds
        if ended == "ok":
            lease.first()
        lease.give_back("ok" if ended == "ok" else "cancelled", events=2)

    assert (standing.paces["first_byte"].own > known) is slower
    assert standing.record_of("gold", "first_byte").all.n == 1
    assert world.word == "probation"
