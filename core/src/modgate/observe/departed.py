"""Metrics of backends that are gone, where engines come and go: or there would be ever more."""

from __future__ import annotations

from collections.abc import Collection

from modgate.observe.metrics import Registry

LABEL = "backend"


class Departed:
    """Drops their series after `kept_s`, in which they may come back, and were scraped."""

    def __init__(self, registry: Registry, kept_s: float) -> None:
        self._registry = registry
        self._kept_s = kept_s
        self._since: dict[str, float] = {}

    def look(self, names: Collection[str], now: float) -> None:
        """These are there now; called every few seconds."""
        gone = self._registry.counted(LABEL).difference(names)
        self._since = {name: self._since.get(name, now) for name in gone}
        late = {name for name, since in self._since.items() if now - since >= self._kept_s}
        if late:
            self._registry.forget(LABEL, late)
