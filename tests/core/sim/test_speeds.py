"""How fast engines are is found in what they did, whatever stood in a call's way."""

from __future__ import annotations

import random

import pytest

from modgate.sim.sharing import Sharing
from modgate.sim.speeds import Line, Sample, fitted, luck_of, speed_of


def sample(began: float, ended: float, work: float, **more: float) -> Sample:
    first = more.get("first", ended)
    return Sample(
        began=began,
        first=first,
        ended=ended,
        read=more.get("read", 0.0),
        written=more.get("written", 0.0),
        work=work,
        streams=first < ended,
    )


def test_a_line_is_found_again() -> None:
    found = fitted([(units, 0.3 + 0.02 * units) for units in (1, 5, 20, 80)])

    assert found.base_s == pytest.approx(0.3)
    assert found.each_s == pytest.approx(0.02)


@pytest.mark.parametrize("odd", [30.0, 1e-6, 0.0])
def test_a_stall_and_a_call_of_no_time_bend_it_little(odd: float) -> None:
    points = [(units, 0.02 * units) for units in range(10, 60)]

    assert fitted([*points, (10, odd)]).seconds(30) == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize(
    "points",
    [
        [(4.0, 0.2)] * 3,
        [(1.0, 9.0), (2.0, 4.0), (3.0, 1.0)],
        [(0.0, 0.0)],
        [(0.0, 1.0), (5.0, 1e-9)],
    ],
)
def test_no_engine_takes_less_than_nothing(points: list[tuple[float, float]]) -> None:
    found = fitted(points)

    assert found.base_s >= 0
    assert found.each_s >= 0
    assert found.seconds(0) > 0


def test_what_calls_at_once_cost_each_other_is_found() -> None:
    """Pairs of calls that run together, each at 1.4 times its time alone."""
    samples = []
    for pair in range(40):
        at, work = 100.0 * pair, 1.0 + pair % 7
        together = 2 if pair % 2 else 1
        took = work * (1.4 if together == 2 else 1.0)
        samples += [sample(at, at + took, work) for _ in range(together)]

    speed = speed_of(samples, serial=False)

    assert speed.crowd == pytest.approx(0.4)
    assert speed.whole == Line(base_s=pytest.approx(0.0, abs=1e-6), each_s=pytest.approx(1.0))
    assert all(luck_of(each, speed)[1] == pytest.approx(1.0) for each in samples)


def test_of_prompts_that_are_read_in_turn_the_wait_is_left_out() -> None:
    rng = random.Random(3)
    free, now, samples = 0.0, 0.0, []
    for _ in range(200):
        now += rng.expovariate(1 / 0.12)  # nine tenths of what it can do
        read = rng.randint(50, 200)
        free = max(free, now) + 0.01 + 0.0008 * read
        samples.append(sample(now, free + 1.0, read + 50, first=free, read=read, written=50))

    speed = speed_of(samples, serial=True)

    assert speed.reads is not None
    assert speed.reads.base_s == pytest.approx(0.01, abs=1e-4)
    assert speed.reads.each_s == pytest.approx(0.0008, rel=0.01)
    assert speed.writes is not None
    assert speed.writes.seconds(50) == pytest.approx(1.0, rel=0.05)


def test_calls_side_by_side_end_when_they_are_due() -> None:
    calls: Sharing[str] = Sharing()
    calls.advance(0.0, 1.0)
    calls.add(3.0, 1, "long")
    calls.add(1.0, 2, "short")

    left_s = calls.left_s(2.0)  # each takes twice as long beside the other
    calls.advance(left_s, 2.0)
    first = list(calls.done())
    rest_s = calls.left_s(1.0)

    assert (left_s, first, rest_s, len(calls)) == (2.0, ["short"], 2.0, 1)
