"""Connections to engines outlive reloads, and go some time after nobody names their engine."""

from __future__ import annotations

from modgate.api.select import Backend
from modgate.connections import UNUSED_KEPT_S, Connections
from modgate.fleet.state import FleetState
from modgate.upstream.ca_bundles import CaBundles

BACKEND = Backend(name="one", family="openai", url="http://127.0.0.1:9", serves={})


async def test_they_are_closed_ten_minutes_later_and_not_before_their_last_call() -> None:
    fleet = FleetState()
    connections = Connections(CaBundles(), fleet)
    client = connections.of(BACKEND)
    slots = fleet.slots_of(BACKEND.identity, 1)
    slots.taken = 1
    kept = []
    for backends, at_s in (
        ([], 0.0),
        ([], UNUSED_KEPT_S - 1),
        ([BACKEND], UNUSED_KEPT_S),  # a reload names it again, by its snapshot
        ([], UNUSED_KEPT_S + 1),
        ([], 2 * UNUSED_KEPT_S + 1),  # a call is still under way
    ):
        if backends:
            assert connections.of(BACKEND) is client
        await connections.prune(backends, at_s)
        kept.append(list(connections) == [client])
    slots.taken = 0
    await connections.prune([], 2 * UNUSED_KEPT_S + 2)

    assert UNUSED_KEPT_S == 600.0
    assert kept == [True] * 5
    assert list(connections) == []
    assert BACKEND.identity not in fleet.slots
