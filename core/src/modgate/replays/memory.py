"""Records in this process: bounded by tenant in number, and over all tenants in bytes of replies.

The oldest of what is done goes first: of a tenant's own where it has too many, and of whoever holds
most where the bytes of all are too many, so that no tenant pushes out what another one keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from modgate.replays.record import Record
from modgate.replays.store import Name

KEYS = 10_000
BYTES = 64 << 20
SWEEP_S = 60.0


@dataclass(slots=True)
class _Kept:
    record: Record
    ends: float = float("inf")


@dataclass(slots=True, eq=False)
class _Tenant:
    """`done` is in the order in which it was done, which is that in which it ends."""

    running: dict[str, _Kept] = field(default_factory=dict)
    done: dict[str, _Kept] = field(default_factory=dict)
    held_bytes: int = 0


class MemoryReplays:
    """The records of one gateway.  `keys`: of one tenant; `at_most`: bytes of all replies."""

    def __init__(self, now: Callable[[], float], *, keys: int = KEYS, at_most: int = BYTES) -> None:
        self._now = now
        self._keys = keys
        self._at_most = at_most
        self._tenants: dict[str, _Tenant] = {}
        self._swept = now()
        self.held_bytes = 0

    @property
    def count(self) -> int:
        """Records of all tenants."""
        return sum(len(each.running) + len(each.done) for each in self._tenants.values())

    async def find(self, name: Name) -> Record | None:
        """See `Replays`."""
        tenant = self._tenants.get(name.tenant)
        if tenant is None:
            return None
        self._expire(name.tenant, tenant)
        kept = tenant.running.get(name.key) or tenant.done.get(name.key)
        return kept.record if kept is not None else None

    async def claim(self, name: Name, mine: Record) -> Record | None:
        """See `Replays`; what runs is bounded by the requests in flight."""
        held = await self.find(name)
        if held is None:
            tenant = self._tenants.setdefault(name.tenant, _Tenant())
            tenant.running[name.key] = _Kept(mine)
        return held

    async def keep(self, name: Name, mine: Record, done: Record, keep_s: float) -> None:
        """See `Replays`."""
        tenant = self._tenants.get(name.tenant)
        if tenant is None or not self._is(tenant, name, mine):
            return
        del tenant.running[name.key]
        tenant.done[name.key] = _Kept(done, self._now() + keep_s)
        self._add(tenant, done.size)
        while len(tenant.done) > self._keys:
            self._drop_oldest(tenant)
        while self.held_bytes > self._at_most:
            self._drop_oldest(max(self._tenants.values(), key=lambda each: each.held_bytes))
        self._tidy(name.tenant, tenant)
        self._sweep()

    async def free(self, name: Name, mine: Record) -> None:
        """See `Replays`."""
        tenant = self._tenants.get(name.tenant)
        if tenant is not None and self._is(tenant, name, mine):
            del tenant.running[name.key]
            self._tidy(name.tenant, tenant)

    async def renew(self, name: Name, mine: Record) -> None:
        """Nothing: what runs here ends here."""

    @staticmethod
    def _is(tenant: _Tenant, name: Name, mine: Record) -> bool:
        kept = tenant.running.get(name.key)
        return kept is not None and kept.record is mine

    def _add(self, tenant: _Tenant, size: int) -> None:
        tenant.held_bytes += size
        self.held_bytes += size

    def _drop_oldest(self, tenant: _Tenant) -> None:
        self._add(tenant, -tenant.done.pop(next(iter(tenant.done))).record.size)

    def _sweep(self) -> None:
        """What tenants have left behind that never come back."""
        if self._now() - self._swept >= SWEEP_S:
            self._swept = self._now()
            for name, tenant in list(self._tenants.items()):
                self._expire(name, tenant)

    def _expire(self, name: str, tenant: _Tenant) -> None:
        now = self._now()
        while tenant.done and next(iter(tenant.done.values())).ends <= now:
            self._drop_oldest(tenant)
        self._tidy(name, tenant)

    def _tidy(self, name: str, tenant: _Tenant) -> None:
        if not tenant.done and not tenant.running:
            self._tenants.pop(name, None)
