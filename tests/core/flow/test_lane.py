from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modgate.api.relay import Event
from modgate.errors import Overloaded, UpstreamFailed
from modgate.lane import MEMORY_AT_MOST, Lane
from modgate.spool import Spool


async def drained(lane: Lane) -> list[bytes]:
    found: list[bytes] = []
    while events := await lane.take():
        found += [event.data for event in events]
    return found


@settings(
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=30,
)
@given(sizes=st.lists(st.integers(1, MEMORY_AT_MOST // 2), max_size=12))
def test_events_come_out_in_order_whether_in_memory_or_spilled(
    tmp_path: Path, sizes: list[int]
) -> None:
    spool = Spool(tmp_path, 1 << 30)
    scope = spool.scope()
    put = [bytes([number % 256]) * size for number, size in enumerate(sizes)]

    async def run() -> list[bytes]:
        lane = Lane(scope)
        for data in put:
            lane.put(Event(data))
        lane.close()
        return await drained(lane)

    assert asyncio.run(run()) == put
    scope.close()
    assert spool.used == 0


async def test_a_lane_that_failed_gives_what_it_has_and_then_its_error(tmp_path: Path) -> None:
    lane = Lane(Spool(tmp_path, 1 << 20).scope())
    lane.put(Event(b"a"))
    lane.close(UpstreamFailed("lost"))

    assert [event.data for event in await lane.take()] == [b"a"]
    with pytest.raises(UpstreamFailed):
        await lane.take()


async def test_what_found_no_room_in_the_spool_is_not_taken(tmp_path: Path) -> None:
    lane = Lane(Spool(tmp_path, 0).scope())
    lane.put(Event(b"a" * MEMORY_AT_MOST))
    with pytest.raises(Overloaded) as full:
        lane.put(Event(b"b"))
    lane.close(full.value)

    assert len(await lane.take()) == 1
    with pytest.raises(Overloaded):
        await lane.take()


async def test_a_retry_empties_the_lane(tmp_path: Path) -> None:
    lane = Lane(Spool(tmp_path, 1 << 24).scope())
    lane.put(Event(b"x" * MEMORY_AT_MOST))
    lane.put(Event(b"y" * 10))
    lane.empty()
    lane.put(Event(b"z"))
    lane.close()

    assert await drained(lane) == [b"z"]
