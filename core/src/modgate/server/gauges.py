"""What can be read of the living state, as metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from modgate.ledger.shipper import Shipper
from modgate.money.unpriced import UnpricedCounter
from modgate.observe.metrics import Labels
from modgate.server.peers import register_peers
from modgate.server.queue_gauges import register_queues
from modgate.server.standings_gauges import register_standings
from modgate.server.vitals_gauges import register_vitals
from modgate.state import State

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def register(state: State) -> None:
    """Add the gauges to the registry, and what counts receipts by the snapshot of the moment."""
    registry = state.observer.registry

    def one(value: float) -> Mapping[Labels, float]:
        return {(): value}

    registry.gauge("modgate_in_flight_requests", "requests in hand", lambda: one(state.live))
    registry.gauge("modgate_queued_calls", "calls that wait", lambda: one(state.fleet.queued))
    registry.gauge("modgate_spool_bytes", "bytes in the spool", lambda: one(state.spool.used))
    registry.gauge("modgate_spool_files", "files in the spool", lambda: one(state.spool.files))
    _register_ledger(state)
    _register_sinks(state)
    registry.gauge(
        "modgate_limit_store_up",
        "1 while limits are shared at their store, 0 while each gateway keeps a share of them",
        lambda: {} if state.shared is None else one(float(not state.shared.down)),
    )
    registry.gauge(
        "modgate_limit_records",
        "reservations that are open at the limit store",
        lambda: {} if state.shared is None else one(state.shared.slices.open),
    )
    registry.gauge("modgate_resident_bytes", "memory of this process", lambda: one(resident()))
    registry.total(
        "modgate_decoder_jobs_total",
        "decoder jobs",
        lambda: one(state.decoders.counters.jobs),
    )
    registry.total(
        "modgate_decoder_kills_total",
        "decoder processes killed",
        lambda: one(state.decoders.counters.kills),
    )
    _register_discovery(state)
    register_vitals(state)
    register_standings(state)
    register_peers(state)
    register_queues(state)
    _by_snapshot(state)


def _register_discovery(state: State) -> None:
    """Discoverers: how many engines each knows, and since when it knows nothing new."""
    registry = state.observer.registry
    registry.gauge(
        "modgate_discovered_backends",
        "engines that a discoverer found",
        lambda: {(each.configured.name,): len(each.instances) for each in state.members.sources},
        "discover",
    )
    registry.gauge(
        "modgate_discovery_stale_seconds",
        "seconds since a discoverer could say what engines there are; 0 while it can",
        lambda: {(each.configured.name,): each.stale_s for each in state.members.sources},
        "discover",
    )


def _by_snapshot(state: State) -> None:
    state.observer.registry.gauge(
        "modgate_backend_slots_taken", "calls in flight", lambda: _taken(state), "backend"
    )
    unpriced = state.observer.registry.counter(
        "modgate_unpriced_requests_total",
        "requests with units that no price was found for, where there are price books",
        "modality",
        "unit",
    )
    state.observer.also(UnpricedCounter(unpriced, lambda: state.gateway().budgets.tariff).observe)


def _register_ledger(state: State) -> None:
    """The ledger: whether frames are taken, and what became of them."""
    registry, ledger = state.observer.registry, state.ledger
    registry.gauge(
        "modgate_ledger_writable",
        "1 while the ledger takes frames",
        lambda: {(): float(ledger.writable)},
    )
    registry.total(
        "modgate_ledger_frames_total",
        "frames written",
        lambda: {(): ledger.frames},
    )
    registry.gauge(
        "modgate_ledger_bytes",
        "bytes of the ledger's segments",
        lambda: {(): ledger.kept_bytes},
    )
    registry.total(
        "modgate_ledger_lost_frames_total",
        "ends that neither disk nor memory could hold",
        lambda: {(): ledger.lost_frames},
    )
    registry.total(
        "modgate_ledger_dropped_frames_total",
        "frames in segments that made room before every sink had them, ever",
        lambda: {(): ledger.dropped_unacknowledged},
    )


def _register_sinks(state: State) -> None:
    """The ledger's sinks: what each does not have yet."""
    registry = state.observer.registry

    def each(value: Callable[[Shipper], float]) -> Callable[[], Mapping[Labels, float]]:
        return lambda: {(shipper.name,): value(shipper) for shipper in state.shipping.shippers}

    registry.gauge(
        "modgate_ledger_sink_up",
        "1 while the sink takes rows",
        each(lambda shipper: float(shipper.up)),
        "sink",
    )
    registry.total(
        "modgate_ledger_sink_withheld_rows_total",
        "rows that may not lie where the sink stands",
        each(lambda shipper: shipper.withheld),
        "sink",
    )
    registry.gauge(
        "modgate_ledger_sink_lag_frames",
        "frames that the sink does not have yet",
        each(lambda shipper: shipper.lag.frames),
        "sink",
    )
    registry.gauge(
        "modgate_ledger_sink_lag_bytes",
        "bytes of the ledger that the sink does not have yet",
        each(lambda shipper: shipper.lag.size_bytes),
        "sink",
    )
    registry.gauge(
        "modgate_ledger_sink_lag_seconds",
        "seconds since the sink had everything",
        each(lambda shipper: shipper.lag.seconds),
        "sink",
    )


def _taken(state: State) -> dict[Labels, float]:
    found: dict[Labels, float] = {}
    for backend in state.gateway().backends:
        slots = state.fleet.slots.get(backend.identity)
        found[(backend.name,)] = slots.taken if slots is not None else 0
    return found


def resident() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_BYTES
