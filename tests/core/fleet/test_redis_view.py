"""The view over a real Redis: what others have in hand comes, goes, and comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from servers import Server, redis
from waiting import until

from modgate.api.secret import Secret
from modgate.clock import SystemClock
from modgate.fleet.peers import EXPIRES_S
from modgate.fleet.pool import Pool
from modgate.fleet.redis_view import PREFIX, RedisView
from modgate.fleet.slots import Seat, Slots
from modgate.server.peers import redis_clients

LOOK_S = 0.01
SECRET = "a secret of this cell"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with redis(tmp_path) as server:
        yield server


class Looking:
    """What a view keeps: one pool of one engine; `pumped`: how often places came free."""

    def __init__(self) -> None:
        self.seat = Seat(backend="a", region="", slots=Slots(limit=4), key="http://a:8000")
        self.pools: Mapping[str, Pool] = {"m": Pool([self.seat])}
        self.pumped = 0

    def pump(self) -> None:
        self.pumped += 1


class Gateway:
    """A view at a Redis, and what it looks at."""

    def __init__(self, url: str, name: str, *, secret: str = SECRET, cell: str = "") -> None:
        self.view = RedisView(
            redis_clients(url), secret=Secret(secret), clock=SystemClock(), cell=cell, name=name
        )
        self.fleet = Looking()
        self.view.use(self.fleet.pools, self.fleet.pump)
        self.view.start()

    @property
    def sight(self) -> str:
        return self.view.seen().sight

    @property
    def exact(self) -> bool:
        return self.fleet.pools["m"].exact

    @property
    def elsewhere(self) -> int:
        return self.fleet.seat.slots.elsewhere


Make = Callable[..., Gateway]


@pytest.fixture
async def made(store: Server) -> AsyncIterator[Make]:
    found: list[Gateway] = []

    def make(name: str, **more: str) -> Gateway:
        found.append(Gateway(store.url, name, **more))
        return found[-1]

    yield make
    for each in found:
        await each.view.close()


async def test_alone_at_a_redis_all_engines_are_compared_once_that_is_sure(made: Make) -> None:
    one = made("one")
    assert (one.sight, one.exact) == ("joining", False)
    await until(lambda: one.exact)

    assert one.sight == "up"
    assert one.view.seen().heard_of == []


async def test_work_in_hand_is_seen_and_goes_when_its_gateway_leaves(made: Make) -> None:
    one, two = made("one"), made("two")
    one.fleet.seat.take(10.0)
    await until(lambda: two.elsewhere == 1)
    assert two.fleet.seat.standing.elsewhere == 10.0
    assert list(two.view.seen().heard_of) == ["one"]
    assert not two.exact
    pumped = two.fleet.pumped
    await one.view.close()
    took_s = await until(lambda: two.elsewhere == 0)

    assert took_s < 0.5
    assert two.fleet.pumped > pumped
    await until(lambda: two.exact)


async def test_a_redis_that_hangs_is_told_once_and_work_is_forgotten_until_it_is_back(
    made: Make, store: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modgate.fleet.redis_view")
    one, two = made("one"), made("two")
    one.fleet.seat.take(10.0)
    await until(lambda: two.elsewhere == 1 and one.sight == two.sight == "up")
    store.pause()
    assert await until(lambda: two.sight == "lost" and two.elsewhere == 0) < 2.5
    assert not two.exact
    await asyncio.sleep(2.5)
    store.go_on()
    await until(lambda: two.elsewhere == 1 and two.sight == "up" and one.sight == "up")

    said = [record.message for record in caplog.records]
    assert sorted(said) == ["peer view lost"] * 2 + ["peer view up"] * 4


async def test_why_there_is_no_view_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Gateway(f"unix://{tmp_path}/none", "one")
    await until(lambda: one.sight == "lost")
    await one.view.close()

    [lost] = [record for record in caplog.records if record.message == "peer view lost"]
    assert vars(lost)["reason"] == "no such file or directory"


async def test_a_link_that_is_cut_is_made_anew(made: Make, store: Server) -> None:
    one, two = made("one"), made("two")
    one.fleet.seat.take(10.0)
    await until(lambda: two.elsewhere == 1)
    client = redis_clients(store.url)()
    try:
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        one.fleet.seat.take(10.0)
        await until(lambda: two.elsewhere == 2)
    finally:
        await client.aclose()


async def test_a_loop_that_was_late_itself_forgets_nobody(
    made: Make, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = made("one"), made("two")
    one.fleet.seat.take(10.0)
    await until(lambda: two.elsewhere == 1 and one.sight == two.sight == "up")
    found = set()
    asyncio.get_running_loop().call_soon(time.sleep, 1.5 * EXPIRES_S)
    for _ in range(60):
        await asyncio.sleep(LOOK_S)
        found.add(two.elsewhere)

    assert found == {1}
    assert "peer view lost" not in [record.message for record in caplog.records]


async def test_a_redis_that_is_not_there_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Gateway(f"unix://{tmp_path}/none", "one")
    await until(lambda: one.sight == "lost")
    await one.view.close()

    assert [record.message for record in caplog.records] == ["peer view lost"]
    assert not one.exact


async def test_who_has_another_secret_counts_for_nothing_and_leaves_doubt(
    made: Make, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = made("one"), made("two", secret="another secret of this")
    two.fleet.seat.take(10.0)
    await until(lambda: one.view.seen().refused.get("mac", 0) > 6)
    assert (one.elsewhere, one.exact, one.sight) == (0, False, "up")

    refused = [each for each in caplog.records if each.message == "peer frame refused"]
    assert len(refused) == 2  # once by each of the two


async def test_cells_on_one_redis_do_not_hear_each_other(made: Make) -> None:
    one, two = made("one"), made("two", cell="b")
    await until(lambda: one.exact and two.exact)

    assert one.view.seen().refused == {}


async def test_a_flood_of_nonsense_is_refused_and_the_view_stays(made: Make, store: Server) -> None:
    one, two = made("one"), made("two")
    one.fleet.seat.take(10.0)
    client = redis_clients(store.url)()
    try:
        for _ in range(300):
            await client.publish(PREFIX, b"\x01" + bytes(40))
            await client.publish(PREFIX, bytes(2 << 20) if _ % 100 == 0 else b"")
        await until(lambda: two.elsewhere == 1 and two.sight == "up")
    finally:
        await client.aclose()

    assert two.view.seen().refused["mac"] >= 300
    assert two.view.seen().refused["too_large"] == 3


class Cut:
    """A link that breaks whenever somebody stops listening to it."""

    def __init__(self) -> None:
        self.listening = asyncio.Event()

    def pubsub(self, **_: object) -> Cut:
        return self

    async def __aenter__(self) -> Cut:
        return self

    async def __aexit__(self, *_: object) -> None:
        raise ConnectionError("cut")

    async def subscribe(self, _: str) -> None:
        self.listening.set()

    async def get_message(self, timeout: float) -> None:  # noqa: ASYNC109 -- as redis names it
        await asyncio.sleep(timeout)

    async def publish(self, *_: object) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def test_a_link_that_breaks_as_it_is_closed_is_not_made_anew() -> None:
    made: list[Cut] = []

    def client_of() -> Cut:
        made.append(Cut())
        return made[-1]

    view = RedisView(client_of, secret=Secret(SECRET), clock=SystemClock())
    view.start()
    await asyncio.sleep(0)
    await made[0].listening.wait()
    async with asyncio.timeout(30):
        await view.close()

    assert len(made) == 1
