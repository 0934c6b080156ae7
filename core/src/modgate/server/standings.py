"""How backends stand, for people: their state, their times, and what they keep of promises.

Source: algorithms.md 7 (states).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from modgate.api.json import Json
from modgate.api.select import Backend
from modgate.fleet.promise_record import PromiseRecord
from modgate.fleet.quantiles import Quantiles
from modgate.fleet.reported_load import FULL
from modgate.fleet.standing import Standing
from modgate.fleet.state import FleetState
from modgate.state import State

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STATES = ("unknown", "probation", "healthy", "degraded", "ejected", "saturated", "draining")
GONE = "gone"


def state_of(state: State, backend: Backend, now: float) -> str:
    """In a word.

    A model's only backend is not judged by its calls, so it is what its health path says.
    """
    if backend.draining:
        return "draining"
    health = state.fleet.health_of(backend.identity)
    word = health.state(now)
    if word in ("ejected", "saturated"):
        return word
    names = backend.serves.values()
    out = any(state.fleet.standing_of(backend.identity, name).out for name in names)
    vitals = state.vitals(backend)
    kv_use = vitals.load.kv_use if vitals.load is not None else None
    full = (kv_use or 0.0) * vitals.load_weight >= FULL
    if out or full or vitals.well is False:
        return "degraded"
    return "healthy" if word == "unknown" and vitals.well else word


def gone(state: State, named: Iterable[Backend]) -> Json:
    """Engines that are named no more and not yet forgotten, and what they still have in hand."""
    identities = {backend.identity for backend in named}
    return [
        {"engine": identity, "taken": slots.taken, "state": GONE}
        for identity, slots in state.fleet.slots.items()
        if identity not in identities
    ]


def pools_of(state: State) -> Json:
    """By model: how many of its backends are in which state, and how many calls wait."""
    gateway, now = state.gateway(), state.clock.now()
    held, lines = gateway.fleet.holding.calls, state.fleet.busy
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for backend in gateway.backends:
        word = state_of(state, backend, now)
        for name in backend.serves:
            states[name][word] += 1
    return {
        model.name: {
            "backends": dict(states[model.name]),
            "waiting": lines[model.name].calls if model.name in lines else 0,
            "held": held[model.name],
        }
        for model in gateway.table.models.values()
    }


def models_of(fleet: FleetState, backend: Backend, now: float) -> Json:
    """By our name of each model: what is known of it there.  Seconds, and calls of a minute."""
    return {
        model: _standing(fleet.standing_of(backend.identity, name), now)
        for model, name in backend.serves.items()
    }


def _standing(standing: Standing, now: float) -> Json:
    return {
        "work": round(standing.work, 3),
        "work_elsewhere": round(standing.elsewhere, 3),
        "seconds_per_work": {
            phase: pace.value for phase, pace in standing.paces.items() if pace.value > 0
        },
        "times": {phase: _times(times, now) for phase, times in standing.times.items()},
        "promises": _promises(standing, now),
        "disqualified_for": sorted({slo for slo, _ in standing.out}),
    }


def _times(times: Quantiles, now: float) -> Json:
    found = times.at(SHARES.values(), now)
    return {
        "calls": times.n,
        **{name: round(value, 6) for name, value in zip(SHARES, found, strict=True)},
    }


def _promises(standing: Standing, now: float) -> Json:
    """By SLO class and phase; of what was ever judged."""
    told: dict[str, Json] = {}
    for (slo, phase), kept in standing.records.items():
        told.setdefault(slo, {})[phase] = _kept(kept, now)
    return told


def _kept(kept: PromiseRecord, now: float) -> Json:
    kept.all.look(now)
    kept.promised.look(now)
    return {
        "calls": kept.all.n,
        "late": kept.all.bad,
        "promised": kept.promised.n,
        "broken": kept.promised.bad,
        "disqualified": kept.out,
    }
