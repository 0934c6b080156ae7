"""Whose fault counts, how long an engine is left alone, and how it comes back."""

from __future__ import annotations

import logging
import random

import pytest

from modgate.api.select import Backend
from modgate.api.vitals import Load
from modgate.errors import GatewayError, Overloaded, Refused, Unreached, UpstreamFailed
from modgate.fleet.fleet import Fleet
from modgate.fleet.health import Health
from modgate.fleet.lease import Ended
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms

STORM = 1000


class World:
    """A pool of engines, and a clock that stands still until it is moved."""

    def __init__(self, size: int) -> None:
        self.now = 1000.0
        self.state = FleetState()
        backends = [
            Backend(name=f"b{at}", family="home", url=f"http://b{at}", serves={"m": "e"}, slots=4)
            for at in range(size)
        ]
        self.fleet = Fleet(
            backends, self.state, groups={}, rng=random.Random(1), now=lambda: self.now
        )

    def call(self, name: str, error: GatewayError | None, ended: Ended = "failed") -> None:
        """A call at this backend that ends so."""
        others = frozenset(self.fleet.backends) - {name}
        lease = self.fleet.at_once("m", Wanted(work=1.0, tried=others))
        assert lease is not None
        assert lease.backend.name == name
        lease.give_back("ok" if error is None else ended, error)

    def word(self, name: str) -> str:
        return self.state.health_of(f"http://{name}").state(self.now)


def broken() -> GatewayError:
    return UpstreamFailed("the engine answered with status 500")


def test_a_storm_of_a_thousand_bad_requests_ejects_nobody() -> None:
    world = World(2)
    for _ in range(STORM):
        world.call("b0", Refused("messages", "invalid_value", "no"), "refused")

    health = world.state.health_of("http://b0")
    assert health.errors.seen == 0
    assert world.word("b0") == "unknown"


def test_five_failures_eject_and_a_pool_keeps_half_of_its_engines() -> None:
    world = World(4)
    for name in ("b0", "b1", "b2"):
        for _ in range(5):
            world.call(name, broken())

    assert [world.word(f"b{at}") for at in range(4)] == [
        *("ejected", "ejected", "probation", "unknown")
    ]


def test_where_nobody_listens_all_may_be_left_out() -> None:
    world = World(2)
    for name in ("b0", "b1"):
        for _ in range(5):
            world.call(name, Unreached("no connection to the engine"))

    assert [world.word(name) for name in ("b0", "b1")] == ["ejected", "ejected"]


@pytest.mark.parametrize("terms", [None, Terms(target_s=9.0)])
def test_where_nobody_listens_anywhere_calls_go_out_all_the_same(terms: Terms | None) -> None:
    world = World(2)
    for name in ("b0", "b1"):
        for _ in range(5):
            world.call(name, Unreached("no connection to the engine"))

    assert world.fleet.at_once("m", Wanted(work=1.0, terms=terms)) is not None


def test_who_says_429_is_left_alone_for_so_long_and_blamed_for_nothing() -> None:
    world = World(2)
    full = Overloaded("full")
    full.retry_after_s = 3.0
    world.call("b0", full)
    assert world.word("b0") == "saturated"
    world.now += 3.1

    assert world.word("b0") == "unknown"


def test_an_engine_comes_back_through_probation_with_a_slow_start() -> None:
    world = World(2)
    for _ in range(5):
        world.call("b0", broken())
    health = world.state.health_of("http://b0")
    world.now = health.until
    caps = [health.cap]
    for _ in range(20):
        world.call("b0", None)
        caps.append(health.cap)

    assert caps[0] == 1
    assert set(caps[1:10]) == {4}
    assert set(caps[10:20]) == {8}
    assert (caps[20], world.word("b0")) == (None, "healthy")


@pytest.mark.parametrize("heard", [False, True])
def test_an_engine_that_is_not_well_and_mute_is_given_one_call_at_a_time(heard: bool) -> None:
    world = World(2)
    for name in ("b0", "b1"):
        for _ in range(21):
            world.call(name, None)
    health = world.state.health_of("http://b0")
    health.alive(world.now)
    world.now += 100
    for _ in range(2):
        health.probed(False, world.now, 5.0)
        world.now += 5
        if heard:
            health.alive(world.now)
    wanted = [Wanted(work=1.0, terms=Terms(target_s=9.0)) for _ in range(4)]
    names = [lease.backend.name for each in wanted if (lease := world.fleet.at_once("m", each))]

    assert len(names) == 4
    assert (names.count("b0") > 1) == heard


def ejected(refused: bool, *probes: bool) -> Health:
    """At 100, after these probes, each five seconds."""
    health = Health()
    for number, well in enumerate(probes):
        health.probed(well, 100.0 - 5 * (len(probes) - number), 5.0)
    health.failed(100.0, refused=refused)
    health.eject(100.0, lambda: 0.5)
    return health


def test_two_of_three_good_probes_end_the_ejection_of_an_engine_that_was_gone() -> None:
    for health in (ejected(True, True, True), ejected(False, True, False)):
        health.probed(False, 105.0, 5.0)
        health.probed(True, 110.0, 5.0)
        assert health.state(110.0) == "ejected"
        health.probed(True, 115.0, 5.0)

        assert (health.state(115.0), health.cap) == ("probation", 1)


def test_an_engine_that_nobody_could_reach_is_back_though_no_probe_met_that() -> None:
    health = ejected(True, True, True)
    for at in (105.0, 110.0):
        health.probed(True, at, 5.0)

    assert health.state(110.0) == "probation"


def test_good_probes_of_an_engine_that_fails_its_calls_prove_nothing() -> None:
    health = ejected(False, True, True, True)
    for number in range(5):
        health.probed(True, 105.0 + 5 * number, 5.0)

    assert health.state(129.0) == "ejected"


def test_who_said_that_it_is_full_is_left_alone_though_it_is_well_again() -> None:
    health = Health()
    health.probed(False, 95.0, 5.0)
    health.saturated(100.0, 20.0)
    for at in (105.0, 110.0, 115.0):
        health.probed(True, at, 5.0)

    assert health.state(119.0) == "saturated"
    assert health.state(120.0) == "unknown"


def test_bad_probes_eject_nobody_but_bear_out_the_first_call_that_fails() -> None:
    health = Health()
    for number in range(9):
        health.probed(False, 5.0 * number, 5.0)
    assert health.until < 0
    assert Health().failed(41.0, refused=False) is False
    assert health.failed(41.0, refused=False)

    stale = Health()
    stale.probed(False, 0.0, 5.0)
    stale.probed(False, 5.0, 5.0)
    assert not stale.failed(31.0, refused=False)


@pytest.mark.parametrize(
    ("use", "age_s", "full"),
    [
        (0.89, 0.0, False),
        (0.9, 0.0, True),
        (0.95, 2.0, True),
        (1.0, 2.2, True),
        (1.0, 2.6, False),
        (1.0, 9.0, False),
    ],
)
def test_a_full_cache_is_heeded_for_as_long_as_it_may_be_believed(
    use: float, age_s: float, full: bool
) -> None:
    health = Health()
    health.heard(Load(kv_use=use), 0, 10.0, 1.0)
    health.fade(10.0 + age_s)

    assert health.reported.full is full


def test_calls_that_wait_count_where_they_are_not_all_ours_and_from_the_second_look_on() -> None:
    health = Health()
    health.heard(Load(running=8, waiting=6), 3, 0.0, 1.0)
    assert health.reported.waiting == 0  # calls come and go while a page is on its way
    health.heard(Load(running=8, waiting=6), 3, 1.0, 1.0)
    assert health.reported.waiting == 6
    health.heard(Load(running=8, waiting=6), 14, 2.0, 1.0)
    assert health.reported.waiting == 0
    health.heard(Load(running=8), 0, 3.0, 1.0)

    assert health.reported.waiting == 0  # what is not said is unknown


def test_waiting_calls_are_believed_less_and_less() -> None:
    health = Health()
    for now in (0.0, 1.0):
        health.heard(Load(running=8, waiting=6), 0, now, 1.0)
    found = []
    for now in (3.0, 4.5, 6.0):
        health.fade(now)
        found.append(health.reported.waiting)

    assert found == [6.0, 3.0, 0.0]


def test_what_is_said_by_an_engine_that_nobody_knows_is_passed_over() -> None:
    state = FleetState()
    state.heed("http://x", Load(waiting=3), 0.0, 1.0)
    state.heed("http://x", False, 0.0, 1.0)

    assert state.health == {}


@pytest.mark.parametrize("between", [0, 1])
def test_replies_that_nobody_can_use_eject_although_they_ended_well(between: int) -> None:
    world = World(2)
    for _ in range(12):
        lease = world.fleet.at_once("m", Wanted(work=1.0, tried=frozenset({"b1"})))
        if lease is None or lease.backend.name != "b0":
            break
        lease.give_back("ok")
        lease.spoilt()
        for _ in range(between):
            world.call("b0", None, "ok")

    assert world.word("b0") == "ejected"


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, object]]:
    """Event, backend and reason of each line that the fleet wrote."""
    return [
        (record.message, vars(record)["backend"], vars(record).get("reason"))
        for record in caplog.records
        if record.name in ("modgate.fleet.fleet", "modgate.fleet.ejection")
    ]


def test_an_ejection_and_the_way_back_are_a_line_each_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "modgate.fleet")
    world = World(2)
    under_way = world.fleet.at_once("m", Wanted(work=1.0, tried=frozenset({"b1"})))
    assert under_way is not None
    for _ in range(5):
        world.call("b0", broken())
    left_out = [("backend ejected", "b0", "upstream_error")]
    assert told(caplog) == left_out
    assert 27 <= vars(caplog.records[-1])["seconds"] <= 33

    under_way.give_back("ok")  # it began before, and says nothing of now
    assert told(caplog) == left_out
    world.now = world.state.health_of("http://b0").until
    for _ in range(25):
        world.call("b0", None)

    assert told(caplog) == [*left_out, ("backend answers again", "b0", None)]


def test_a_reply_that_nobody_can_use_is_a_reason_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "modgate.fleet")
    world = World(2)
    for _ in range(5):
        lease = world.fleet.at_once("m", Wanted(work=1.0, tried=frozenset({"b1"})))
        assert lease is not None
        lease.give_back("ok")
        lease.spoilt()

    assert told(caplog) == [("backend ejected", "b0", "upstream_invalid_response")]


@pytest.mark.parametrize(
    ("calls", "each", "out"),
    [
        (60, 3, True),  # surely more than a fifth
        (60, 4, False),  # a quarter, which so few may be by accident
        (18, 2, False),  # half, of too few to tell
        (20, 2, True),
    ],
)
def test_failures_that_are_scattered_eject_where_they_are_surely_more_than_a_fifth(
    calls: int, each: int, out: bool
) -> None:
    health, due = Health(), False
    for at in range(1, calls + 1):
        if at % each:
            health.succeeded(1000.0)
        else:
            due = health.failed(1000.0, refused=False) or due

    assert due is out


@pytest.mark.parametrize(("lot", "least"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_an_engine_is_left_alone_for_twice_as_long_each_time_and_for_five_minutes_at_most(
    lot: float, least: float
) -> None:
    health, now, lasted = Health(), 1000.0, []
    for _ in range(6):
        health.eject(now, lambda: lot)
        lasted.append(health.until - now)
        now = health.until

    wanted = [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    assert lasted == pytest.approx([least * seconds for seconds in wanted])


@pytest.mark.parametrize(("healthy_s", "seconds"), [(599.0, 240.0), (600.0, 120.0), (1800.0, 30.0)])
def test_ten_minutes_in_which_it_was_well_forgive_an_ejection(
    healthy_s: float, seconds: float
) -> None:
    health, now = Health(), 1000.0
    for _ in range(3):
        health.eject(now, lambda: 0.5)
        now = health.until
    now += healthy_s
    health.eject(now, lambda: 0.5)

    assert health.until - now == pytest.approx(seconds)


def test_an_engine_that_has_no_room_is_asked_again_after_half_a_minute_at_most() -> None:
    health = Health()
    health.saturated(1000.0, 3600.0)

    assert health.until == 1030.0
