"""The connections to engines: shared by all snapshots, and kept while a reload comes and goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from modgate.api.select import Backend
from modgate.fleet.state import FleetState
from modgate.upstream.ca_bundles import CaBundles
from modgate.upstream.client import Client

UNUSED_KEPT_S = 600.0

_Way = tuple[str, str, str]  # an engine's identity, its address, and its CA bundle


@dataclass(slots=True)
class _Kept:
    """The connections to one engine, and since when no snapshot names it."""

    client: Client
    unused_since: float | None = None


class Connections:
    """A client for each engine's identity, address and CA bundle."""

    def __init__(self, ca_bundles: CaBundles, fleet: FleetState) -> None:
        self._ca_bundles = ca_bundles
        self._fleet = fleet
        self._kept: dict[_Way, _Kept] = {}

    def of(self, backend: Backend) -> Client:
        """The connections to an engine; OSError for a CA bundle that was never readable."""
        way = _way(backend)
        kept = self._kept.get(way)
        if kept is None:
            secure = urlsplit(backend.url).scheme == "https"
            tls = self._ca_bundles.trust(backend.ca) if secure else None
            client = Client(backend.url, socket=backend.socket, tls=tls)
            kept = self._kept[way] = _Kept(client)
        kept.unused_since = None
        return kept.client

    def __iter__(self) -> Iterator[Client]:
        return (kept.client for kept in self._kept.values())

    async def prune(self, backends: Sequence[Backend], now: float) -> None:
        """Close what was not among the backends for ten minutes, and carries no call.

        An engine that is named nowhere any more is forgotten by the fleet, too.
        """
        named = {_way(backend) for backend in backends}
        identities = {identity for identity, *_ in named}
        for way, kept in list(self._kept.items()):
            identity = way[0]
            if way in named:
                continue
            if kept.unused_since is None:
                kept.unused_since = now
            slots = self._fleet.slots.get(identity)
            busy = slots is not None and slots.taken > 0
            if now - kept.unused_since >= UNUSED_KEPT_S and not busy:
                del self._kept[way]
                if identity not in identities:
                    self._fleet.forget(identity)
                await kept.client.close()

    async def close(self) -> None:
        """Close all of them."""
        for client in self:
            await client.close()
        self._kept.clear()


def _way(backend: Backend) -> _Way:
    return backend.identity, backend.url, backend.ca
