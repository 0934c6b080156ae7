"""The discoverers that need no plugin."""

from __future__ import annotations

from modgate.api.discover import AnyDiscoverer
from modgate.discover.dns import Dns
from modgate.discover.file import FileDiscoverer
from modgate.discover.kubernetes import Kubernetes


def built_in() -> dict[str, type[AnyDiscoverer]]:
    """By kind."""
    return {kind.name: kind for kind in (Dns, FileDiscoverer, Kubernetes)}
