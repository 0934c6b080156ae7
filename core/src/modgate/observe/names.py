"""What may stand in a label: names from the configuration, so that junk cannot mint series."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from modgate.observe.metrics import OTHER
from modgate.units import UnitTable

# What a tenant holds rather than spends (modgate.api.auth.Limits).
HOLDS = ("in_flight", "streams", "body_bytes", "spool_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one snapshot.

    `backends` None: any, for they come from config or a discoverer and never from a client.
    """

    units: UnitTable = field(default_factory=UnitTable)
    tenants: Collection[str] = frozenset()
    models: Collection[str] = frozenset()
    backends: Collection[str] | None = None

    def modalities(self) -> frozenset[str]:
        """Those whose units are known."""
        return frozenset(full.partition(".")[0] for full in self.units.units)

    def limited(self) -> frozenset[str]:
        """What a limit may be on: units by their short shown name, and holds."""
        return frozenset(unit.public for unit in self.units.units.values()).union(HOLDS)

    def knows(self, labels: Mapping[str, str]) -> bool:
        """Whether a series may stay: every name in its labels is still here."""
        for label, value in labels.items():
            known = self._of(label)
            if known is not None and value != OTHER and value not in known:
                return False
        return True

    def _of(self, label: str) -> Collection[str] | None:
        match label:
            case "tenant":
                return self.tenants
            case "model" | "gen_ai_request_model":
                return self.models
            case "backend":
                return self.backends
            case _:
                return None
