"""Receipts as metrics.  Tenants label counters only; backends and models label histograms only.

Label values come from the configuration; anything else is `other`, so junk cannot mint series.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from modgate.api.sink import Attempt, Receipt, Ruling
from modgate.observe.gen_ai import MODEL, GenAi
from modgate.observe.metrics import OTHER, Codes, Labels, Registry
from modgate.observe.stale_series import StaleSeries
from modgate.units import UnitTable

MEMBERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
POLICY_SECONDS = (0.00003, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.5, 3.0)


class Recorder:
    """Counts receipts.  `gen_ai`: by OpenTelemetry's names, too."""

    def __init__(self, registry: Registry, *, gen_ai: bool = False) -> None:
        self._codes = Codes()
        self._gen_ai = GenAi(registry, self._codes) if gen_ai else None
        self._stale_named = StaleSeries(registry, MODEL)
        self._stale_tenants = StaleSeries(registry, "tenant")
        self._stale_models = StaleSeries(registry, "model")
        self._units: dict[str, tuple[str, int]] = {}  # their shown names and scales
        self._used: defaultdict[str, defaultdict[str, int]] = defaultdict(_no_units)
        self._tenants: Collection[str] = frozenset()
        self._models: Collection[str] = frozenset()
        self._requests = registry.counter(
            "modgate_requests_total", "requests by how they ended", "tenant", "modality", "ending"
        )
        registry.total(
            "modgate_units_total",
            "units billed, in their shown form",
            self._shown,
            "tenant",
            "unit",
        )
        self._refusals = registry.counter(
            "modgate_refusals_total", "requests refused, by error code", "tenant", "code"
        )
        self._would_refuse = registry.counter(
            "modgate_would_refuse_total", "requests that a limit in shadow refuses", "tenant"
        )
        self._differences = registry.counter(
            "modgate_count_differences_total",
            "requests of which engine and gateway count over 5 % apart",
            "model",
        )
        self._fallbacks = registry.counter(
            "modgate_fallbacks_total",
            "requests that another model served, by the one that was asked for",
            *("model", "reason"),
        )
        self._exhausted = registry.counter(
            "modgate_retry_budget_exhausted_total",
            "requests that were not tried again because too many were",
            "model",
        )
        self._foreseen = registry.histogram(
            "modgate_used_of_reserved_ratio",
            "what a request used of what was reserved for it, of those that ended well",
            SHARES,
            *("model", "unit"),
        )
        self._register_policies(registry)
        self._register_times(registry)

    def _register_times(self, registry: Registry) -> None:
        self._attempts = registry.counter(
            "modgate_attempts_total", "upstream attempts", "backend", "state"
        )
        self._duration = registry.histogram(
            "modgate_request_duration_seconds", "from first header to last byte", SECONDS, "model"
        )
        self._opened = registry.histogram(
            "modgate_request_first_byte_seconds",
            "of streams and audio, from first header to the reply's first byte",
            SECONDS,
            "model",
        )
        self._first = registry.histogram(
            "modgate_attempt_first_event_seconds",
            "from sending a call to its first event",
            SECONDS,
            "backend",
            "model",
        )
        self._members = registry.histogram(
            "modgate_trip_calls", "calls of requests that shared a trip", MEMBERS, "model"
        )
        self._queue = registry.histogram(
            "modgate_queue_seconds",
            "a call's wait for a slot, where it had to wait",
            SECONDS,
            "model",
        )

    def _register_policies(self, registry: Registry) -> None:
        self._decisions = registry.counter(
            "modgate_policy_decisions_total",
            "decisions of policies; in shadow nothing came of them",
            *("policy", "decision", "shadow"),
        )
        self._late = registry.counter(
            "modgate_policy_overruns_total",
            "decisions that took longer than their budget",
            "policy",
        )
        self._deciding = registry.histogram(
            "modgate_policy_duration_seconds",
            "a policy's decision, what it asked engines included",
            POLICY_SECONDS,
            "policy",
        )

    def use(self, units: UnitTable, tenants: Collection[str], models: Collection[str]) -> None:
        """The label values of a new snapshot."""
        self._tenants, self._models = tenants, models
        self._units |= {name: (units.shown[name], unit.scale) for name, unit in units.units.items()}

    def forget_departed(self, now: float) -> None:
        """Drop what was counted of tenants and models that have been gone for a while."""
        for stale in (self._stale_models, self._stale_named):
            stale.look({*self._models, OTHER}, now)
        for tenant in self._stale_tenants.look({*self._tenants, OTHER}, now):
            self._used.pop(tenant, None)

    def observe(self, receipt: Receipt) -> None:
        """Count one receipt."""
        tenant = receipt.tenant if receipt.tenant in self._tenants else OTHER
        model = receipt.model if receipt.model in self._models else OTHER
        self._requests.values[tenant, receipt.modality or OTHER, receipt.ending] += 1
        self._bill(tenant, receipt.units)
        if receipt.error and receipt.status in (400, 401, 403, 404, 413, 415, 429):
            self._refusals.add((tenant, self._codes.label(receipt.error)))
        if receipt.notes:
            self._note(tenant, model, receipt.notes)
        if receipt.modality:
            self._time((model,), receipt)
            if receipt.admitted and receipt.exact and receipt.ending == "ok":
                self._compare(model, receipt)
        for attempt in receipt.attempts:
            self._attempt(attempt)
        for ruling in receipt.rulings:
            self._ruling(ruling)
        if self._gen_ai is not None:
            self._gen_ai.observe(receipt, self._models)

    def _time(self, model: Labels, receipt: Receipt) -> None:
        self._duration.add(model, receipt.duration_s)
        if receipt.stream and receipt.first_byte_s is not None:
            self._opened.add(model, receipt.first_byte_s)
        for step in receipt.steps:
            if step.name == "queue":
                self._queue.add(model, step.ended_s - step.began_s)

    def _compare(self, model: str, receipt: Receipt) -> None:
        """How good the estimate was (algorithms.md 3.2)."""
        known, units = self._units, receipt.units
        for name, reserved in receipt.reserved.items():
            if reserved and name in known:
                self._foreseen.add((model, known[name][0]), units.get(name, 0) / reserved)

    def _note(self, tenant: str, model: str, notes: Mapping[str, str]) -> None:
        if notes.get("counts_differ"):
            self._differences.add((model,))
        if notes.get("would_refuse"):
            self._would_refuse.add((tenant,))
        if (asked := notes.get("fallback_for")) is not None:
            named = asked if asked in self._models else OTHER
            self._fallbacks.add((named, notes.get("fallback_on", OTHER)))
        if (spent := notes.get("retry_budget_exhausted")) is not None:
            self._exhausted.add((spent if spent in self._models else OTHER,))

    def _ruling(self, ruling: Ruling) -> None:
        shadow = "true" if ruling.shadow else "false"
        self._decisions.add((ruling.policy, ruling.verdict, shadow))
        self._deciding.add((ruling.policy,), ruling.seconds)
        if ruling.late:
            self._late.add((ruling.policy,))

    def _bill(self, tenant: str, units: Mapping[str, int]) -> None:
        known, used = self._units, self._used[tenant]
        for name, count in units.items():
            if count and name in known:
                used[name] += count

    def _shown(self) -> Mapping[Labels, float]:
        """What was used, by tenant and unit as it is shown; read in a thread, so of copies."""
        found: defaultdict[Labels, float] = defaultdict(int)
        for tenant, used in list(self._used.items()):
            for name, count in list(used.items()):
                shown, scale = self._units[name]
                found[tenant, shown] += count / scale
        return found

    def _attempt(self, attempt: Attempt) -> None:
        self._attempts.values[attempt.backend, attempt.state] += 1
        served = attempt.model if attempt.model in self._models else OTHER
        if attempt.members:
            self._members.add((served,), attempt.members)
        if attempt.first_s is not None:
            self._first.add((attempt.backend, served), attempt.first_s - attempt.began_s)


def _no_units() -> defaultdict[str, int]:
    return defaultdict(int)
