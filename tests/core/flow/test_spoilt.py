"""An attempt that looked well until its reply was read: its receipt says so, and it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import run

from modgate.errors import BadReply


def test_a_shared_reply_that_cannot_be_split_is_a_failed_attempt_of_each() -> None:
    first = iter([True])

    def answer(texts: Sequence[str]) -> Answered:
        return Answered(short=len(texts) > 1 and next(first, False))

    async def main() -> list[tuple[str, str]]:
        traffic = Traffic(Engine(answer), Engine(answer), slots=1)
        trips = [traffic.trip(f"text {n}") for n in range(8)]
        await asyncio.gather(*(trip.next() for trip in trips))
        tries = [trip.order.draft.tries for trip in trips]
        assert all(each[-1].state in ("ok", "pending") for each in tries)
        return [(each.state, each.error) for tried in tries for each in tried[:-1]]

    failed = run(main())

    assert failed
    assert set(failed) == {("failed", "upstream_invalid_response")}


def test_a_spoilt_call_is_not_opened_again() -> None:
    engine = Engine(lambda texts: Answered())

    async def main() -> tuple[str, str]:
        traffic = Traffic(engine)
        trip = traffic.trip("text")
        await trip.next()
        trip.spoilt(BadReply("no reply"))
        with pytest.raises(BadReply):
            await trip.next()
        trip.close()
        assert traffic.idle()
        [attempt] = trip.order.draft.tries
        return attempt.state, trip.outcome().state

    assert run(main()) == ("failed", "failed")
    assert len(engine.calls) == 1
