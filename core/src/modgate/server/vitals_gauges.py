"""What engines and exporters say, as metrics: only while it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modgate.api.vitals import Load, Signals, Vitals
from modgate.observe.metrics import Labels
from modgate.state import State

Read = Callable[[Vitals], float | None]
_GAUGES: tuple[tuple[str, str, Read], ...] = (
    (
        "modgate_backend_well",
        "1 while the engine's health path answers well, 0 while it does not",
        lambda vitals: vitals.well,
    ),
    (
        "modgate_backend_running_requests",
        "requests that the engine says it works on, whoever sent them",
        lambda vitals: (vitals.load or Load()).running,
    ),
    (
        "modgate_backend_waiting_requests",
        "requests that the engine says wait in it",
        lambda vitals: (vitals.load or Load()).waiting,
    ),
    (
        "modgate_backend_kv_use_ratio",
        "share of its cache that the engine says is in use",
        lambda vitals: (vitals.load or Load()).kv_use,
    ),
    (
        "modgate_backend_load_weight",
        "how far the engine's own figures are believed, by their age: 1 to 0",
        lambda vitals: vitals.load_weight,
    ),
    (
        "modgate_backend_gpu_memory_ratio",
        "share of device memory in use, by [signals]",
        lambda vitals: (vitals.signals or Signals()).gpu_memory,
    ),
    (
        "modgate_backend_interconnect",
        "traffic between devices, by [signals] and in its unit",
        lambda vitals: (vitals.signals or Signals()).interconnect,
    ),
    (
        "modgate_backend_temperature_celsius",
        "temperature of the hardware, by [signals]",
        lambda vitals: (vitals.signals or Signals()).temperature,
    ),
)


def register_vitals(state: State) -> None:
    """Add them to the registry."""
    for name, meaning, read in _GAUGES:
        state.observer.registry.gauge(name, meaning, _each(state, read), "backend")


def _each(state: State, read: Read) -> Callable[[], Mapping[Labels, float]]:
    def values() -> Mapping[Labels, float]:
        found = ((b.name, read(state.vitals(b))) for b in state.gateway().backends)
        return {(name,): float(value) for name, value in found if value is not None}

    return values
