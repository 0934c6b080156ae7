"""All keys, and the check of one.  Synchronous, and looks at nothing outside."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from modgate.api.auth import Caller
from modgate.api.secret import Secret
from modgate.auth.keys import PresentedKey, digest
from modgate.auth.table import Digest, Holder, KeySource

_DUMMY = (Digest(value="0" * 64),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A key that is good, whose it is, and for how long (seconds; None = for ever)."""

    caller: Caller
    for_s: float | None = None


class Keyring:
    """The keys of several sources; where two know one id, the first counts."""

    def __init__(self, sources: Sequence[KeySource], *, pepper: Secret) -> None:
        self._sources = tuple(sources)
        self._pepper = pepper

    def holder(self, key_id: str) -> Holder | None:
        """Who holds the key of this id."""
        for source in self._sources:
            if (found := source.holder(key_id)) is not None:
                return found
        return None

    def check(self, key: PresentedKey, wall: float) -> Good | None:
        """Whose key it is; None for one that is unknown, was revoked, or has run out.

        An unknown id costs a digest and a comparison like a known one.
        """
        holder = self.holder(key.id)
        made = digest(self._pepper, key.secret.reveal())
        digests = holder.digests if holder is not None else _DUMMY
        same = [each for each in digests if hmac.compare_digest(made, each.value)]
        good = [each for each in same if each.good_at(wall)]
        if holder is None or not good:
            return None
        ends = [each.until for each in good]
        if None in ends:
            return Good(caller=holder.caller)
        return Good(caller=holder.caller, for_s=max(end for end in ends if end) - wall)
