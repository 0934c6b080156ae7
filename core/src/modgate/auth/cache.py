"""Callers that were found good a moment ago, so that most requests cost one digest."""

from __future__ import annotations

from collections import OrderedDict

from modgate.api.auth import Caller

CACHE_S = 5.0
CACHE_AT_MOST = 10_000


class KeyCache:
    """Keys and tokens that were found good, by a digest of the whole of them.

    Bounded; an entry lives five seconds, or as long as `put` says.  Never by a part of a token: two
    that begin alike are two callers.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    def get(self, mark: bytes, now: float) -> Caller | None:
        """Whose it is, if that was checked a moment ago."""
        found = self._known.get(mark)
        return found[1] if found is not None and found[0] > now else None

    def put(self, mark: bytes, caller: Caller, now: float, for_s: float = CACHE_S) -> None:
        """Remember a good one for so many seconds."""
        self._known[mark] = (now + for_s, caller)
        self._known.move_to_end(mark)
        if len(self._known) > CACHE_AT_MOST:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget all: a key may have been revoked."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)
