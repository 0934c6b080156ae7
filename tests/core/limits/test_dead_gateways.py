"""How long what a dead gateway reserved is missing.  Source: algorithms.md 3.2; RFD 72."""

from __future__ import annotations

from rigs.accounts import Fleet, bucket
from rigs.virtual import virtually

from modgate.limits.levels import Denied


@virtually
async def test_what_a_dead_gateway_held_is_free_within_25_seconds() -> None:
    fleet, limit = Fleet(), bucket(600, period_ms=600_000)
    [dead, alive, _] = fleet.accounts
    await fleet.ask(dead, [(limit, 500)])
    fleet.clock.ms += 2500
    await dead.tick()
    assert isinstance(await fleet.ask(alive, [(limit, 400)]), Denied)

    for _ in range(100):
        fleet.clock.ms += 250
        await alive.tick()

    assert isinstance(await fleet.ask(alive, [(limit, 400)]), str)
