"""Trips under whatever happens, and what they are for; before scripted engines, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs.batching import Answered, Engine, Traffic, tokens, vector
from rigs.virtual import run

from modgate.errors import GatewayError, Refused
from modgate_embedding.config import Config

BAD = "bad"
Got = tuple[list[list[float]], int] | BaseException


def moody(dice: random.Random, faults: int, texts: Sequence[str]) -> Answered:
    """Refuses what is bad; of a hundred other calls some fail, at once or later."""
    took = dice.uniform(0, 0.03)
    if any(text.startswith(BAD) for text in texts):
        return Answered(seconds=took, status=422)
    if dice.randrange(100) < faults:
        status = dice.choice([500, 503, 429])
        return Answered(seconds=took, status=status, lost=dice.random() < 0.3)
    return Answered(seconds=took)


def rightly(got: Got, *, refused: bool, left: bool, faults: bool) -> bool:
    """Whether a member may have ended so."""
    match got:
        case Refused():
            return refused
        case asyncio.CancelledError():
            return left
        case GatewayError():
            return faults and got.retryable
        case _:
            return isinstance(got, tuple) and not refused


seconds = st.sampled_from([0.0, 0.001, 0.01, 0.05])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=24),
    bad=st.sets(st.integers(0, 23), max_size=3),
    leaving=st.dictionaries(st.integers(0, 23), seconds, max_size=6),
    arriving=st.lists(seconds, min_size=24, max_size=24),
    engines=st.integers(1, 3),
    faults=st.integers(0, 60),
    seed=st.integers(0, 1 << 16),
    by_input=st.booleans(),
)
def test_each_member_gets_its_own_once_and_pays_for_its_own(
    sizes: list[int],
    bad: set[int],
    leaving: dict[int, float],
    arriving: list[float],
    engines: int,
    faults: int,
    seed: int,
    by_input: bool,
) -> None:
    """Under random completion order, failures, refusals and members that leave."""
    requests = [
        [f"{BAD if number in bad else 'good'} {number}.{item}" for item in range(size)]
        for number, size in enumerate(sizes)
    ]

    answer = partial(moody, random.Random(seed), faults)
    pool = [Engine(answer, slots=4, by_input=by_input) for _ in range(engines)]

    async def one(traffic: Traffic, number: int) -> Got:
        await asyncio.sleep(arriving[number])
        return await traffic.ask(*requests[number])

    async def main() -> list[Got]:
        traffic = Traffic(*pool, slots=2, config=Config(trip_items=8))
        tasks = [asyncio.ensure_future(one(traffic, number)) for number in range(len(requests))]
        for task, at in ((tasks[n], at) for n, at in leaving.items() if n < len(tasks)):
            asyncio.get_running_loop().call_later(at, task.cancel)
        got = await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)
        assert traffic.idle()
        return got

    got = run(main())
    for number, each in enumerate(got):
        if isinstance(each, tuple):
            assert each[0] == [vector(text) for text in requests[number]]
            assert not by_input or each[1] == sum(map(tokens, requests[number]))
        assert rightly(each, refused=number in bad, left=number in leaving, faults=faults > 0)
    paid = sum(each[1] for each in got if isinstance(each, tuple))
    read = sum(engine.read for engine in pool)
    assert paid <= read
    if not any(isinstance(each, asyncio.CancelledError) for each in got):
        assert paid == read


# --- what it is for


def service(texts: Sequence[str]) -> Answered:
    """A scripted accelerator: 10 ms a call and 0.5 ms an input."""
    return Answered(seconds=0.010 + 0.0005 * len(texts))


def measured(config: Config, per_second: float, requests: int) -> tuple[float, float]:
    """Requests a second, and the median of their seconds, of one text each at a steady rate."""

    async def one(traffic: Traffic, number: int, took: list[float]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(number / per_second)
        began = loop.time()
        await traffic.ask(f"text {number}")
        took.append(loop.time() - began)

    async def main() -> tuple[float, float]:
        traffic, took = Traffic(Engine(service, slots=2), config=config), list[float]()
        await asyncio.gather(*(one(traffic, number, took) for number in range(requests)))
        return requests / asyncio.get_running_loop().time(), median(took)

    return run(main())


@pytest.mark.slow
def test_batches_carry_three_times_what_single_calls_do_and_cost_a_quiet_engine_nothing() -> None:
    alone, shared = Config(trip_items=1), Config()
    saturation = 2 / 0.0105

    single, _ = measured(alone, 4 * saturation, 1000)
    batched, median_s = measured(shared, 4 * saturation, 1000)
    assert single == pytest.approx(saturation, rel=0.02)
    assert batched >= 3 * single
    assert median_s < 0.05

    _, quiet_alone_s = measured(alone, 20, 100)
    _, quiet_s = measured(shared, 20, 100)
    assert quiet_s == pytest.approx(quiet_alone_s) == pytest.approx(0.0105)
