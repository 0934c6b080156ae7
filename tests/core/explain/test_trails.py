"""What is kept of recent requests is bounded, however many there are and whatever they took."""

from __future__ import annotations

from collections.abc import Mapping

from rigs.drafts import drafted

from modgate.api.auth import Caller
from modgate.api.select import Backend
from modgate.errors import LimitReached
from modgate.explain.trails import REFUSED_SHARE, Trails
from modgate.fleet.fleet import Fleet
from modgate.fleet.pick import Wanted
from modgate.fleet.state import FleetState
from modgate.fleet.terms import Terms
from modgate.tries import Missed

CALLER = Caller(tenant="acme", key_id="k")
TERMS = Terms(slo="gold", target_s=1.0)
NONE: Mapping[str, str] = {}


class World:
    """A fleet and the requests that it served; every request comes a second after the last."""

    def __init__(self, backends: int = 2) -> None:
        self.at = 0.0
        self.fleet = Fleet(
            [
                Backend(name=f"b{n}", family="home", url=f"http://10.0.0.{n}", serves={"m": "m"})
                for n in range(backends)
            ],
            FleetState(),
            groups={},
            now=lambda: self.at,
        )
        self.trails = Trails()
        self.trails.use(1000, 1 << 30)

    def request(
        self, number: int, *, calls: int = 1, missed: int = 0, headers: Mapping[str, str] = NONE
    ) -> None:
        """One that took so many calls, or was refused for 0."""
        self.at += 1.0
        draft = drafted(
            request_id=f"req_{number}",
            now=lambda: self.at,
            began=self.at,
            wall=self.at,
            caller=CALLER,
            reply_headers=headers,
        )
        wanted = Wanted(work=1.0, terms=TERMS)
        for index in range(missed):
            pool_state = self.fleet.pool_state("m")
            draft.missed = (*draft.missed, Missed(index, "m", wanted, pool_state, (), 0.0))
        for index in range(calls):
            lease = self.fleet.at_once("m", wanted)
            assert lease is not None
            draft.attempt(index, "m", lease).end("ok")
            lease.give_back("ok")
        error = None
        if not calls:
            error = LimitReached("no more", limit="requests", unit="requests", retry_after_s=1.0)
        receipt = draft.receipt(
            ending="ok" if calls else "refused",
            status=200 if calls else 429,
            units={},
            exact=True,
            measured_by="gateway",
            error=error,
        )
        self.trails.keep(receipt, draft, None, error, apart=False)


def test_the_last_so_many_are_kept() -> None:
    world = World()
    world.trails.use(40, 1 << 30)
    for number in range(100):
        world.request(number)

    kept = [trail.receipt.request_id for trail in world.trails.newest()]
    assert kept == [f"req_{n}" for n in range(99, 69, -1)]
    assert world.trails.get("req_69") is None
    assert (found := world.trails.get("req_70")) is not None
    assert found.draft.request_id == "req_70"


def test_large_ones_leave_room_for_fewer_and_what_is_gone_weighs_nothing() -> None:
    world = World(backends=16)
    world.trails.use(1000, 1 << 20)
    for number in range(50):
        world.request(number, calls=100)
    many = len(world.trails)
    heavy = world.trails.weight
    world.trails.use(0, 0)

    assert 0 < many < 10
    assert heavy <= 1 << 20
    assert (len(world.trails), world.trails.weight) == (0, 0)


def test_a_pool_state_that_several_share_is_counted_once_and_one_a_request_each_time() -> None:
    apart, together = World(backends=64), World(backends=64)
    apart.request(0)
    apart.request(1, missed=3)
    together.request(0)
    together.at -= 1.0
    together.request(1)

    assert apart.trails.weight > together.trails.weight + 4 * 64 * 100


def test_long_headers_of_a_reply_weigh_what_they_are() -> None:
    world, other = World(), World()
    world.request(0, headers={"x-modgate-partial": "1" * 7000})
    other.request(0)

    assert world.trails.weight >= other.trails.weight + 7000


def test_a_storm_of_refusals_leaves_those_that_were_served() -> None:
    world = World()
    world.trails.use(8 * REFUSED_SHARE, 1 << 30)
    world.request(0)
    for number in range(1, 1000):
        world.request(number, calls=0)

    assert len(world.trails) == 1 + 8
    assert world.trails.get("req_0") is not None
    assert (last := world.trails.get("req_999")) is not None
    assert last.refusal == "no more"


def test_nothing_is_kept_where_nothing_may_be() -> None:
    world = World()
    world.trails.use(0, 1 << 20)
    world.request(0)
    world.request(1, calls=0)

    assert (len(world.trails), world.trails.weight) == (0, 0)
