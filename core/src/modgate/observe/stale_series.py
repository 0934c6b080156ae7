"""Dropping metrics of backends, tenants and models that are gone, or their series would pile up."""

from __future__ import annotations

from collections.abc import Collection

from modgate.observe.metrics import Registry

KEPT_S = 600.0


class StaleSeries:
    """Drops the series of values of one label, ten minutes after the value was last there.

    By then they were scraped, and what went by mistake is back.
    """

    def __init__(self, registry: Registry, label: str) -> None:
        self._registry = registry
        self._label = label
        self._since: dict[str, float] = {}

    def look(self, names: Collection[str], now: float) -> set[str]:
        """These values are there now; called every few seconds.  The answer: what was dropped."""
        gone = self._registry.counted(self._label).difference(names)
        self._since = {name: self._since.get(name, now) for name in gone}
        late = {name for name, since in self._since.items() if now - since >= KEPT_S}
        if late:
            self._registry.forget(self._label, late)
        return late
