"""Where calls that have something in common go: to the same two engines, whoever asks.

Rendezvous hashing: no index and no state; an engine that comes or goes moves its own share only.

Source: algorithms.md 1.4 step 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from modgate.fleet.slots import Seat

MASK = (1 << 64) - 1
ALIKE = 1.09  # preferences that differ by less than a rank of hardware (1.1) are one


def key_of(tenant: str, model: str, affinity: bytes) -> int:
    """A call's key: of its tenant and model alone, so nobody learns where another's prompts go."""
    spoken = b"\0".join((tenant.encode(), model.encode(), affinity))
    return int.from_bytes(blake2b(spoken, digest_size=8).digest(), "big") | 1


def homes(key: int, seats: Sequence[Seat]) -> Iterator[Seat]:
    """The two seats of a key among those that the operator prefers, then its two among all.

    Preferences come first, or a prompt that nobody has read yet would go wherever its key leads.
    """
    factors = {seat.factor for seat in seats}
    if len(factors) > 1 and max(factors) > (bound := ALIKE * min(factors)):
        yield from first_two(key, [seat for seat in seats if seat.factor <= bound])
    yield from first_two(key, seats)


def first_two(key: int, seats: Sequence[Seat]) -> list[Seat]:
    """The two seats that this key prefers, best first; of one seat that one."""
    weights = [key * seat.seed & MASK for seat in seats]
    found = []
    for _ in range(min(2, len(seats))):
        at = weights.index(max(weights))
        weights[at] = -1
        found.append(seats[at])
    return found
