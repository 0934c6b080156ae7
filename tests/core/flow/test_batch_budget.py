"""What trips add to the retry budget of their pool.  Source: algorithms.md 5.1."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from rigs.batching import Answered, Engine, Traffic
from rigs.virtual import run

BAD = "bad"
MANY = 33


def picky(texts: Sequence[str]) -> Answered:
    return Answered(status=400 if BAD in texts else 200)


def test_what_is_sent_again_in_halves_earns_no_more_retries_than_it_did() -> None:
    async def main() -> tuple[int, float]:
        engine = Engine(picky, slots=1)
        traffic = Traffic(engine, slots=1)
        [model] = traffic.fleet.pools
        retries = traffic.state.retries_of(model)
        while retries.spend(0.0):
            pass
        before = retries.left
        texts = [BAD if number == 9 else str(number) for number in range(MANY)]
        await asyncio.gather(*map(traffic.ask, texts), return_exceptions=True)
        return len(engine.calls), retries.left - before

    calls, earned = run(main())

    assert calls > 3
    assert earned == pytest.approx(MANY * 0.1)
