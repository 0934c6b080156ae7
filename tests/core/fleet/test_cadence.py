"""How often gateways tell each other."""

from __future__ import annotations

import pytest

from modgate.fleet.cadence import HEARD_PER_S, tells_each_s
from modgate.fleet.estimate import Estimate


@pytest.mark.parametrize(("engines", "gateways"), [(5, 2), (12, 8), (64, 32), (1000, 2)])
def test_a_gateway_reads_no_more_than_so_many_entries_or_tells_as_seldom_as_ever(
    engines: int, gateways: int
) -> None:
    each_s = tells_each_s(engines, gateways)

    assert 0.05 <= each_s <= 0.25
    assert each_s == 0.25 or engines * gateways / each_s <= HEARD_PER_S


def test_one_gateways_first_mistake_is_outvoted() -> None:
    pace = Estimate()
    pace.learn(0.0, 1e-4)

    pace.heard([1.1e-4, 0.9e-4, 50e-4])

    assert pace.value == pytest.approx(1.05e-4)


def test_of_two_that_know_it_is_the_middle() -> None:
    pace = Estimate()
    pace.learn(0.0, 1e-4)

    pace.heard([3e-4, 0.0])

    assert pace.value == pytest.approx(2e-4)
