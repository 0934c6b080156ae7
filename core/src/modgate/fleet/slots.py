"""What an engine has in hand.

Kept by the engine's identity, so a reload neither frees nor doubles it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from modgate.fleet.changes import Changes
from modgate.fleet.concurrency import Concurrency
from modgate.fleet.health import Health
from modgate.fleet.standing import Standing
from modgate.fleet.tally import Tally
from modgate.fleet.view import View


@dataclass(slots=True, kw_only=True)
class Slots:
    """One engine's (or one group's) capacity: counted once, however many models it serves.

    `taken`: calls in flight of this gateway, `elsewhere`: those that others told of; `share`: so
    many it may have whatever those are, or one gateway could keep all others from an engine.
    `concurrency`: what moves the limit; None = nothing does.  `changes`: is told of every change.
    """

    limit: int
    taken: int = 0
    elsewhere: int = 0
    share: int = 0
    concurrency: Concurrency | None = None
    changes: Changes = field(default_factory=Changes)

    @property
    def free(self) -> bool:
        """Whether one more call fits."""
        return self.taken + self.elsewhere < self.limit or self.taken < self.share

    def declare(self, limit: int, most: int | None) -> None:
        """So many were declared; where the limit moves up to `most`, it stays where it is."""
        moves = self.concurrency
        if most is None:
            self.concurrency, self.limit = None, limit
        elif moves is None or (moves.declared, moves.most) != (limit, max(limit, most)):
            self.concurrency, self.limit = Concurrency(limit, most), limit
        self.changes.tell()

    def heard(self, elsewhere: int, share: int) -> None:
        """So many calls are in flight of others, and so many it may have whatever those are."""
        self.elsewhere, self.share = elsewhere, share
        self.changes.tell()

    def saw(self, now: float, *, late: bool) -> None:
        """A call of these ended; it was counted out already."""
        if self.concurrency is not None:
            at_once = self.taken + self.elsewhere + 1
            self.limit = self.concurrency.saw(now, late=late, at_once=at_once)
            self.changes.tell()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seat:
    """A backend's place in a pool: its own slots, and its group's if it shares some.

    `beside`: how its engine stands for other models.
    `factor`: what its predicted time is multiplied by where it is compared, by preference.
    `away_s`: on the way there and back.  `judged`: its pool or another has a choice, so that its
    times are learned.  `key`: what gateways call its engine among themselves, '' for one that no
    other reaches; `model`: its engine's name of the model.  `seed`: its own in rendezvous hashing.
    `view`: what filters and scorers are shown, where there are any.  `entangled`: what it shares
    with others must be looked at.  `tally`: of its model.
    """

    backend: str
    region: str
    offers: dict[str, frozenset[str]] = field(default_factory=dict)
    slots: Slots
    group: Slots | None = None
    health: Health = field(default_factory=Health)
    standing: Standing = field(default_factory=Standing)
    beside: tuple[Standing, ...] = ()
    factor: float = 1.0
    away_s: float = 0.0
    judged: bool = True
    seed: int = 0
    key: str = ""
    model: str = ""
    draining: bool = False
    tally: Tally = field(default_factory=Tally)
    view: View | None = None
    entangled: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entangled", bool(self.beside) or self.group is not None)
        self.health.changes = changes = self.slots.changes
        for each in (self.standing, *self.beside):
            each.changes = changes

    @property
    def free(self) -> bool:
        """Whether a call may start here now."""
        return self.slots.free and (self.group is None or self.group.free)

    def take(self, work: float) -> None:
        """One call begins."""
        slots = self.slots
        slots.taken += 1
        self.standing.work += work
        if slots.changes.looked:
            slots.changes.tell()
        if self.group is not None:
            self.group.taken += 1
            self.group.changes.tell()

    def more(self, work: float) -> None:
        """A call that is here carries more work than it was taken for, or has done some."""
        self.standing.work += work
        if self.slots.changes.looked:
            self.slots.changes.tell()

    def give(self, work: float) -> None:
        """One call ended, with so much left of its work."""
        slots, standing = self.slots, self.standing
        slots.taken -= 1
        standing.work = max(0.0, standing.work - work) if slots.taken else 0.0
        if slots.changes.looked:
            slots.changes.tell()
        if self.group is not None:
            self.group.taken -= 1
            self.group.changes.tell()


def seed_of(identity: str) -> int:
    """An odd number of 64 bits that is an engine's own."""
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big") | 1
