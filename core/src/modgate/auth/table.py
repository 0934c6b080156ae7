"""Keys by their id, from one source of them: the files of a snapshot, or a store that lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from modgate.api.auth import Caller
from modgate.auth.keys import StoredKey
from modgate.problems import ConfigError, Problem

DIGESTS_AT_MOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A digest that is good for a key id until `until` (unix seconds; None = for ever)."""

    value: str
    until: float | None = None

    def good_at(self, wall: float) -> bool:
        """Whether it has not run out."""
        return self.until is None or wall < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a key, and the digests that are good for its id: two while it is rotated."""

    caller: Caller
    digests: tuple[Digest, ...]


class KeySource(Protocol):
    """Where keys come from.  Asked on the loop, so it answers from memory."""

    def holder(self, key_id: str) -> Holder | None:
        """Who holds the key of this id; None when it was never given, or was revoked."""
        ...


class KeyTable:
    """A source that never changes; a store that lives replaces its table as a whole."""

    def __init__(self, holders: Mapping[str, Holder]) -> None:
        self._holders = holders

    @staticmethod
    def of(keys: Iterable[tuple[Caller, StoredKey]]) -> KeyTable:
        """ConfigError for an id that two tenants hold (one would be let in as the other), and for a
        third digest of one id.
        """
        holders: dict[str, Holder] = {}
        for caller, stored in keys:
            known = holders.get(stored.id)
            if known is not None and _who(known.caller) != _who(caller):
                raise _problem(caller, taken(stored.id, known.caller.tenant))
            digests = (
                *(known.digests if known else ()),
                Digest(value=stored.digest, until=stored.until),
            )
            if len(digests) > DIGESTS_AT_MOST:
                raise _problem(caller, too_many(stored.id))
            holders[stored.id] = Holder(caller=caller, digests=digests)
        return KeyTable(holders)

    def holder(self, key_id: str) -> Holder | None:
        """Who holds the key of this id."""
        return self._holders.get(key_id)


def _who(caller: Caller) -> tuple[str, str]:
    return caller.tenant, caller.role


def taken(key_id: str, holder: str) -> str:
    """What is wrong with an id that somebody else has."""
    return f"key id {key_id} is tenant '{holder}'s already; make a new key"


def too_many(key_id: str) -> str:
    """What is wrong with a third digest."""
    return f"key id {key_id} has more than two digests; remove the oldest line"


def _problem(caller: Caller, text: str) -> ConfigError:
    path = f"tenant.{caller.tenant}.keys" if caller.tenant else "admin.keys"
    return ConfigError([Problem(message=text, path=path)])
