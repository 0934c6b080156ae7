"""How backends stand, as metrics: worked out when somebody asks, and for no request.

On the event loop: to look lets go of what is older than a minute, which the next call does, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from modgate.fleet.standing import Standing
from modgate.server.standings import STATES, state_of
from modgate.state import State

P95 = (0.95,)


def register_standings(state: State) -> None:
    """Whether backends are left out, how late they are, and what they keep of promises."""
    registry = state.observer.registry
    registry.gauge(
        "modgate_backend_left_out",
        "1 while a backend is ejected or saturated",
        lambda: _left_out(state),
        "backend",
        on_loop=True,
    )
    registry.gauge(
        "modgate_backend_state",
        "1 for the state that a backend is in, 0 for the others",
        lambda: _states(state),
        "backend",
        "state",
        on_loop=True,
    )
    registry.gauge(
        "modgate_backend_p95_seconds",
        "95th percentile of a phase in the last minute, of models with several backends",
        lambda: _p95(state),
        "backend",
        "model",
        "phase",
        on_loop=True,
    )
    registry.gauge(
        "modgate_backend_promises",
        "calls of the last minute that were predicted to be in time",
        lambda: _promises(state, broken=False),
        "backend",
        "model",
        "slo",
        "phase",
        on_loop=True,
    )
    registry.gauge(
        "modgate_backend_broken_promises",
        "calls of the last minute that were predicted to be in time and were late",
        lambda: _promises(state, broken=True),
        "backend",
        "model",
        "slo",
        "phase",
        on_loop=True,
    )


def _left_out(state: State) -> dict[tuple[str, ...], float]:
    now = state.clock.now()
    return {
        (backend.name,): float(state_of(state, backend, now) in ("ejected", "saturated"))
        for backend in state.gateway().fleet.backends.values()
    }


def _states(state: State) -> dict[tuple[str, ...], float]:
    now = state.clock.now()
    found: dict[tuple[str, ...], float] = {}
    for backend in state.gateway().fleet.backends.values():
        word = state_of(state, backend, now)
        found |= {(backend.name, each): float(each == word) for each in STATES}
    return found


def _standings(state: State) -> Iterator[tuple[str, str, Standing]]:
    for backend in state.gateway().fleet.backends.values():
        for model, name in backend.serves.items():
            yield backend.name, model, state.fleet.standing_of(backend.identity, name)


def _p95(state: State) -> dict[tuple[str, ...], float]:
    now = state.clock.now()
    return {
        (backend, model, phase): times.at(P95, now)[0]
        for backend, model, standing in _standings(state)
        for phase, times in standing.times.items()
    }


def _promises(state: State, *, broken: bool) -> dict[tuple[str, ...], float]:
    now = state.clock.now()
    found: dict[tuple[str, ...], float] = {}
    for backend, model, standing in _standings(state):
        for (slo, phase), kept in standing.records.items():
            kept.promised.look(now)
            count = kept.promised.bad if broken else kept.promised.n
            found[backend, model, slo, phase] = float(count)
    return found
