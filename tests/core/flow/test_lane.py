from __future__ import annotations

import asyncio
from collections import deque
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


SIZES = st.sampled_from([1, MEMORY_AT_MOST // 2, MEMORY_AT_MOST - 1, MEMORY_AT_MOST])


@settings(
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=60,
)
@given(steps=st.lists(SIZES | st.none(), min_size=4, max_size=12))
def test_events_come_out_in_order_whether_in_memory_or_spilled(
    tmp_path: Path, steps: list[int | None]
) -> None:
    """A step puts an event of that size, or takes one (None)."""
    spool = Spool(tmp_path, 1 << 30)
    scope = spool.scope()
    waiting: deque[tuple[Event, bool]] = deque()  # whether it is in the spool

    async def run() -> None:
        lane = Lane(scope)
        spilled = 0
        for number, size in enumerate([*steps, *[None] * len(steps)]):
            in_memory = sum(len(event.data) for event, there in waiting if not there)
            if size is not None:
                event = Event(bytes([number]) * size, f"event {number}", {"x-number": str(number)})
                there = in_memory + size > MEMORY_AT_MOST or any(there for _, there in waiting)
                spilled += size if there else 0
                waiting.append((event, there))
                lane.put(event)
            elif waiting:
                event, _ = waiting.popleft()
                [taken] = await lane.take()
                assert (taken.data, taken.name) == (event.data, event.name)
                assert taken.headers == event.headers
            in_memory = sum(len(event.data) for event, there in waiting if not there)
            in_spool = any(there for _, there in waiting)
            assert lane.full == (in_memory >= MEMORY_AT_MOST or in_spool)
            assert scope.size == spilled
        lane.close()
        assert await lane.take() == []
        lane.free()

    asyncio.run(run())
    assert (scope.size, spool.files) == (0, 0)


async def test_who_waits_for_an_event_is_woken_by_it_and_by_the_end(tmp_path: Path) -> None:
    lane = Lane(Spool(tmp_path, 1 << 20).scope())
    lane.put(Event(b"a"))
    await lane.take()
    async with asyncio.timeout(60):
        waits = asyncio.create_task(lane.take())
        await asyncio.sleep(0)
        lane.put(Event(b"b"))
        assert [event.data for event in await waits] == [b"b"]
        waits = asyncio.create_task(lane.take())
        await asyncio.sleep(0)
        lane.close()
        assert await waits == []


async def test_who_waits_for_room_is_woken_by_each_event_that_is_taken(tmp_path: Path) -> None:
    lane = Lane(Spool(tmp_path, 1 << 20).scope())
    lane.put(Event(b"a"))
    lane.put(Event(b"b"))
    async with asyncio.timeout(60):
        for _ in range(2):
            waits = asyncio.create_task(lane.room())
            await asyncio.sleep(0)
            assert not waits.done()
            await lane.take()
            await waits


def test_a_lane_that_is_freed_twice_takes_no_file_of_another(tmp_path: Path) -> None:
    scope = Spool(tmp_path, 1 << 24).scope()
    lane = Lane(scope)
    lane.put(Event(b"a" * (MEMORY_AT_MOST + 1)))
    lane.free()
    writer = scope.writer()  # its descriptor has the number that was given back
    writer.write(b"another's")
    lane.free()

    assert writer.done().read() == b"another's"


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
    scope = Spool(tmp_path, 1 << 24).scope()
    lane = Lane(scope)
    lane.put(Event(b"x" * MEMORY_AT_MOST))
    lane.put(Event(b"y" * 10))
    lane.empty()
    lane.put(Event(b"z" * MEMORY_AT_MOST))
    lane.close()

    assert await drained(lane) == [b"z" * MEMORY_AT_MOST]
    assert scope.size == 10  # memory is free again
