"""The tenants' store of a running gateway, and who may call by it and the file.

Whoever changes the store, this process, another gateway or the command line, raises its epoch; it
is looked at every two seconds, so a revoked key is refused within five everywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from modgate.auth.store import Change, Store, StoreError
from modgate.clock import Clock
from modgate.ledger.audit import Audit
from modgate.problems import ConfigError
from modgate.server.beside import beside
from modgate.snapshot.blueprint import Blueprint
from modgate.snapshot.callers import Held, Roster, RosterMaker
from modgate.snapshot.doubts import warn

log = logging.getLogger(__name__)

TOLD = 20  # names in a line of the log


class Tenancy:
    """One open store.  `hold`: swaps in another roster; `more`: callers of no file and no store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        hold: Callable[[Roster], None],
        audit: Audit,
        more: Iterable[Held] = (),
    ) -> None:
        self.store = store
        self._audit = audit
        self.roster = Roster()
        self._clock = clock
        self._hold = hold
        self._more = more
        self.lock = asyncio.Lock()  # of two who swap the roster, the later one read later
        self._made: Blueprint | None = None
        self._doubts: Sequence[str] = ()
        self._failing = False

    @property
    def made(self) -> Blueprint:
        """The configuration that the roster is linked to."""
        assert self._made is not None
        return self._made

    async def linked(self, made: Blueprint) -> tuple[Roster, Sequence[Change]]:
        """Read the store for a new configuration, beside the event loop.

        With the changes that the audit log has not yet.  ConfigError when its grants do not fit.
        """
        try:
            found, changes = await beside(partial(self._anew, made))
        except StoreError as error:
            raise OSError(str(error)) from None
        if found.problems:
            raise ConfigError(found.problems)
        return found, changes

    def _anew(self, made: Blueprint) -> tuple[Roster, Sequence[Change]]:
        found = self._maker(made).whole(self.store.read(), self._clock.wall())
        return found, self.store.changes(self._recorded(found))

    def _maker(self, made: Blueprint) -> RosterMaker:
        return RosterMaker(made.linked, made.known, made.keys, self._more)

    def _renewed(self, made: Blueprint, before: Roster) -> tuple[Roster, Sequence[Change]]:
        """What was changed, else everything; and the changes that the audit log has not yet."""
        delta = self.store.since(before.epoch, before.opened)
        if delta is not None:
            found = self._maker(made).renewed(before, delta, self._clock.wall())
            return found, [each for each in delta.changes if each.epoch > self._audit.epoch]
        return self._anew(made)

    def use(self, made: Blueprint, found: Roster, changes: Iterable[Change]) -> None:
        """This configuration counts from now on."""
        if gone := sorted(self.roster.tenants.keys() - found.tenants.keys()):
            log.warning("tenants are gone", extra={"tenants": gone[:TOLD], "in_all": len(gone)})
        self._doubts = warn(self._made, made, self._clock.wall(), self._doubts)
        self._made, self.roster = made, found
        self._record(changes)

    def _recorded(self, found: Roster) -> int:
        """The change that the audit log has last; 0 when the store was made anew since."""
        return self._audit.epoch if self._audit.epoch <= found.epoch else 0

    def _record(self, changes: Iterable[Change]) -> None:
        """The store's own record of changes, whoever made them, into the audit log."""
        for change in changes:
            self._audit.changed(
                change.action,
                actor=change.actor,
                subject=change.subject,
                detail=change.detail,
                epoch=change.epoch,
                wall=change.wall,
            )

    async def look(self) -> None:
        """Bring in what somebody changed."""
        try:
            epoch = await asyncio.to_thread(self.store.epoch)
            if (epoch, self.store.opened) != (self.roster.epoch, self.roster.opened):
                await self.refresh()
        except StoreError as error:
            if not self._failing:
                log.error("tenants' store does not answer", extra={"reason": str(error)})
            self._failing = True
            return
        if self._failing:
            log.warning("tenants' store answers again")
        self._failing = False

    async def refresh(self) -> None:
        """Read the store and swap in who may call; StoreError when it cannot be read."""
        async with self.lock:
            found, changes = await asyncio.to_thread(self._renewed, self.made, self.roster)
            self._swap(found)
            self._record(changes)

    def _swap(self, found: Roster) -> None:
        if found.problems:
            problems = [str(each) for each in found.problems]
            log.error("stored tenants do not fit the file", extra={"problems": problems})
        if found.opened != self.roster.opened:
            log.warning("tenants' store was replaced", extra={"tenants": len(found.tenants)})
        self.roster = found
        self._hold(found)
        log.info("tenants changed", extra={"epoch": found.epoch})

    def close(self) -> None:
        """Close the store."""
        self.store.close()
