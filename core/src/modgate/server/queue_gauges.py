"""What waits, and what an autoscaler needs of each pool, as metrics.

Work is in the modality's weighted units.  Everything but the depth is worked out when somebody
asks, and for no call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from modgate.fleet.line import Line
from modgate.fleet.waiting import Waiter
from modgate.observe.metrics import Labels
from modgate.state import State

DEPTHS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Read = Callable[[Line[Waiter]], float]
_OF_LINES: tuple[tuple[str, str, Read], ...] = (
    ("modgate_pool_queued_calls", "calls that wait", lambda line: line.calls),
    ("modgate_pool_queued_units", "work of the calls that wait", lambda line: line.work),
    (
        "modgate_pool_queued_bytes",
        "bytes in memory of the bodies of calls that wait",
        lambda line: line.body_bytes,
    ),
    (
        "modgate_pool_drain_seconds",
        "until all calls are served that wait now, as fast as they were lately",
        lambda line: line.drain_s,
    ),
    (
        "modgate_pool_rate_units",
        "work that was done a second while calls waited; 0 = not known yet",
        lambda line: line.tally.rate,
    ),
)


def register_queues(state: State) -> None:
    """Add them to the registry."""
    registry = state.observer.registry
    depth = registry.histogram(
        "modgate_queue_depth_calls", "calls that waited when one came to wait", DEPTHS, "modality"
    )
    state.fleet.saw_depth = lambda modality, calls: depth.add((modality,), calls)
    for name, meaning, read in _OF_LINES:
        registry.gauge(name, meaning, _each(state, read), "model")
    registry.gauge(
        "modgate_pool_held_calls",
        "calls of a model of which no engine is ready that wait until one is",
        lambda: {(m,): float(n) for m, n in state.gateway().fleet.holding.calls.items()},
        "model",
    )
    registry.total(
        "modgate_pool_offered_units_total",
        "work that was asked for",
        _each(state, lambda line: line.tally.offered),
        "model",
    )
    registry.total(
        "modgate_pool_served_units_total",
        "work that was done",
        _each(state, lambda line: line.tally.served),
        "model",
    )
    registry.gauge(
        "modgate_pool_slots", "calls that engines take at once", lambda: _slots(state), "model"
    )
    registry.gauge(
        "modgate_pool_slots_taken",
        "calls in flight at engines that serve the model, whatever they are for",
        lambda: _taken(state),
        "model",
    )
    registry.gauge(
        "modgate_pool_kv_use_ratio",
        "share of their caches that engines say is in use, on average",
        lambda: _kv_use(state),
        "model",
    )
    registry.gauge(
        "modgate_backend_slots_limit",
        "calls that a backend is given at once, as its targets are kept",
        lambda: _limits(state),
        "backend",
    )


def _each(state: State, read: Read) -> Callable[[], Mapping[Labels, float]]:
    def values() -> Mapping[Labels, float]:
        lines, models = state.fleet.lines, state.gateway().table.models.values()
        named = {model.name for model in models}
        return {(name,): float(read(lines[name])) for name in named if name in lines}

    return values


def _slots(state: State) -> Mapping[Labels, float]:
    pools = state.gateway().fleet.pools.items()
    return {(m,): float(sum(seat.slots.limit for seat in pool.seats)) for m, pool in pools}


def _taken(state: State) -> Mapping[Labels, float]:
    pools = state.gateway().fleet.pools.items()
    return {(m,): float(sum(seat.slots.taken for seat in pool.seats)) for m, pool in pools}


def _limits(state: State) -> Mapping[Labels, float]:
    slots = state.fleet.slots
    return {
        (backend.name,): float(slots[backend.identity].limit)
        for backend in state.gateway().backends
        if backend.identity in slots
    }


def _kv_use(state: State) -> Mapping[Labels, float]:
    return {(model,): sum(each) / len(each) for model, each in _kv_uses(state) if each}


def _kv_uses(state: State) -> Iterator[tuple[str, list[float]]]:
    fleet = state.gateway().fleet
    for model, pool in fleet.pools.items():
        vitals = [state.vitals(fleet.backends[seat.backend]) for seat in pool.seats]
        uses = [each.load.kv_use for each in vitals if each.load is not None]
        yield model, [use for use in uses if use is not None]
