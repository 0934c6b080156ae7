"""What keeps records by key: this process, or Redis for several gateways."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from modgate.replays.record import Record

LEASE_S = 30.0  # a gateway that dies frees its keys after so long
RENEW_S = 10.0


class ReplaysDown(Exception):
    """The store did not answer: nothing is known of the key."""


@dataclass(frozen=True, slots=True)
class Name:
    """Whose key it is; the client's own words are in it only as a digest."""

    tenant: str
    key: str

    @staticmethod
    def of(tenant: str, route: str, key: str) -> Name:
        """A client's key on one route."""
        return Name(tenant, sha256(f"{route}\0{key}".encode()).hexdigest())


class Replays(Protocol):
    """Records by name.  Every method may raise ReplaysDown."""

    async def find(self, name: Name) -> Record | None:
        """What is known of a key."""
        ...

    async def claim(self, name: Name, mine: Record) -> Record | None:
        """Take a free key with a running record; what holds it, where it is not free."""
        ...

    async def keep(self, name: Name, mine: Record, done: Record, keep_s: float) -> None:
        """Put in place of one's own running record what came of it."""
        ...

    async def free(self, name: Name, mine: Record) -> None:
        """Take one's own running record away: the key is as if it had never come."""
        ...

    async def renew(self, name: Name, mine: Record) -> None:
        """It still runs."""
        ...
