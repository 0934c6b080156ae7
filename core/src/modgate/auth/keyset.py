"""One issuer's public keys as they age: when they are used, asked for again, and given up.

A pure state machine.  Fresh for ten minutes; then for an hour used while they are asked for behind
the request; then asked for first, and used for a day if the issuer does not answer.  A key id that
is unknown asks, too; but between two questions are ten seconds, whoever wants what, so a flood of
made-up ids costs the issuer one question in ten seconds.  Source: algorithms.md 9; RFC 5861.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

FRESH_S = 600.0
REVALIDATE_S = FRESH_S + 3600.0
ERROR_S = 86_400.0
COOLDOWN_S = 10.0

Key = TypeVar("Key")
Ask = Literal["no", "behind", "first"]


@dataclass(frozen=True, slots=True)
class Looked(Generic[Key]):
    """The key of an id, if it may be used, and whether to ask the issuer.

    `first`: before anything is decided; `behind`: while the request goes on.
    """

    key: Key | None
    ask: Ask = "no"


class KeySet(Generic[Key]):
    """The keys of one issuer by their id.  `now`: of a clock that never goes back."""

    def __init__(self) -> None:
        self._keys: Mapping[str, Key] = {}
        self._came: float | None = None
        self._asked: float | None = None

    def look(self, kid: str, now: float) -> Looked[Key]:
        """The key of an id, and whether the issuer must be asked."""
        age = now - self._came if self._came is not None else ERROR_S
        key = self._keys.get(kid) if age < ERROR_S else None
        if self._asked is not None and now - self._asked < COOLDOWN_S:
            return Looked(key)
        if key is None or age >= REVALIDATE_S:
            return Looked(key, "first")
        return Looked(key, "behind" if age >= FRESH_S else "no")

    def usable(self, now: float) -> bool:
        """Whether the set is fresh enough to say that an id it does not have is unknown."""
        return self._came is not None and now - self._came < ERROR_S

    def asked(self, now: float) -> None:
        """A question goes out."""
        self._asked = now

    def came(self, keys: Mapping[str, Key], now: float) -> bool:
        """The answer; whether a key that was good is not any more."""
        lost = any(keys.get(kid) != key for kid, key in self._keys.items())
        self._keys, self._came = keys, now
        return lost
