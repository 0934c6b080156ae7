"""All keys, and the check of one.  Synchronous, and looks at nothing outside."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from modgate.api.secret import Secret
from modgate.auth.cache import CACHE_S
from modgate.auth.keys import PresentedKey, digest
from modgate.auth.table import Digest, Holder, KeySource
from modgate.auth.verdict import Good

_DUMMY = (Digest(value="0" * 64),)


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
        left_s = max(CACHE_S if each.until is None else each.until - wall for each in good)
        return Good(caller=holder.caller, for_s=min(CACHE_S, left_s))
