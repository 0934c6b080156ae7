"""A merged trip of which some clients left, and whose calls an engine would finish all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import run

from modgate.errors import Cancelled


@pytest.mark.parametrize(("status", "left_s"), [(400, 0.015), (500, 0.015), (500, 0.1)])
def test_a_trip_that_failed_goes_again_without_those_whose_clients_left(
    status: int, left_s: float
) -> None:
    """While it is under way, or while it waits for a slot of the other engine."""

    def no_trips(texts: Sequence[str]) -> Answered:
        seconds = 0.5 if texts == ["second"] else 0.01
        return Answered(seconds=seconds, status=status if len(texts) > 1 else 200)

    engines = [Engine(no_trips, slots=1), Engine(no_trips, slots=1)]

    async def main() -> list[object]:
        traffic = Traffic(*engines, slots=1)
        trips = [traffic.trip(text) for text in ("first", "second", "left", "stays")]
        got = [asyncio.ensure_future(trip.next()) for trip in trips]
        await asyncio.sleep(left_s)
        trips[2].order.draft.abandoned = True
        await asyncio.wait(got)
        for trip in trips:
            trip.close()
        assert traffic.idle()
        return [each.exception() for each in got]

    assert [type(each) for each in run(main())[2:]] == [Cancelled, type(None)]
    calls = [call for engine in engines for call in engine.calls]
    assert sorted(calls) == [["first"], ["left", "stays"], ["second"], ["stays"]]
