"""An engine's slots, and its seats in the pools of the models that it serves.

Slots are kept by the engine's identity, so a reload neither frees nor doubles them.
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

    `taken`: this gateway's calls in flight; `elsewhere`: those of other gateways, as they told.
    `share`: how many this gateway may have in any case, or another could keep it from the engine.
    `concurrency`: what moves the limit, None = nothing does.  `changes`: told of every change.
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
        """Set the declared limit; one that moves (up to `most`) stays where it is."""
        moves = self.concurrency
        if most is None:
            self.concurrency, self.limit = None, limit
        elif moves is None or (moves.declared, moves.most) != (limit, max(limit, most)):
            self.concurrency, self.limit = Concurrency(limit, most), limit
        self.changes.tell()

    def heard(self, elsewhere: int, share: int) -> None:
        """What other gateways have in flight, and this one's share."""
        self.elsewhere, self.share = elsewhere, share
        self.changes.tell()

    def saw(self, now: float, *, late: bool) -> None:
        """A call ended, and is not in `taken` any more: the limit may move."""
        if self.concurrency is not None:
            at_once = self.taken + self.elsewhere + 1
            self.limit = self.concurrency.saw(now, late=late, at_once=at_once)
            self.changes.tell()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seat:
    """A backend's place in a pool: its own slots, and its group's if it shares some.

    `beside`: how its engine stands for other models.  `factor`: by preference, predicted times
    are multiplied by it when seats are compared.  `away_s`: network time, there and back.
    `judged`: there is a choice in some pool of its engine, so its outcomes and times are learned.
    `key`: its engine's name among gateways, '' for one that no other reaches; `model`: the engine's
    name of the model.  `seed`: for rendezvous hashing.  `view`: what filters and scorers see, if
    there are any.  `entangled`: it shares its engine or its group with others.  `tally`: its
    model's.
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
        """Change the work of a call that is here: more came along, or some is done (below 0)."""
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
