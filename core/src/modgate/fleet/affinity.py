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


class Homes:
    """Of these seats, the two of a key among those that the operator prefers, then its two among
    all.

    Preferences come first, or a prompt that nobody has read yet would go wherever its key leads.
    """

    __slots__ = ("_groups",)

    def __init__(self, seats: Sequence[Seat]) -> None:
        groups = [seats]
        factors = {seat.factor for seat in seats}
        if len(factors) > 1 and max(factors) > (bound := ALIKE * min(factors)):
            groups.insert(0, [seat for seat in seats if seat.factor <= bound])
        self._groups = [(group, [seat.seed for seat in group]) for group in groups]

    def of(self, key: int) -> Iterator[Seat]:
        """They, best first; each is looked for when it is asked for."""
        for seats, seeds in self._groups:
            yield from _first_two(key, seats, seeds)


def _first_two(key: int, seats: Sequence[Seat], seeds: Sequence[int]) -> Iterator[Seat]:
    """The two seats that this key prefers, best first; of one seat that one."""
    weights = [key * seed & MASK for seed in seeds]
    for _ in range(min(2, len(seats))):
        at = weights.index(max(weights))
        yield seats[at]
        weights[at] = -1
