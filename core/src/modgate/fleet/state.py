"""What outlives a reload: engines by identity, how they stand for models, and who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field

from modgate.api.select import Backend
from modgate.api.vitals import Load, Signals
from modgate.fleet.expected import Expected
from modgate.fleet.health import Health
from modgate.fleet.line import Line
from modgate.fleet.pool import Pool
from modgate.fleet.retries import Retries
from modgate.fleet.slots import Slots
from modgate.fleet.standing import Standing
from modgate.fleet.waiting import Waiter

MODELS_AT_MOST = 10_000
BUSY = 0.7  # of its slots
UNSERVED_KEPT_S = 600.0


@dataclass(slots=True)
class FleetState:
    """Slots and health by engine identity, standings by that and the engine's model name.

    `expected`: by model, what calls were seen to take.  `groups`: slots that several engines share,
    by name.  `lines`: by model, the calls that wait, with what is known of its work; `busy`: those
    in which somebody waits, in the order of their turns.  `retries`: by model.  `saw_depth`: is
    told by each call that comes to wait how many wait, with its modality.  `pools`: by model, those
    that were made last.
    """

    slots: dict[str, Slots] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)
    groups: dict[str, Slots] = field(default_factory=dict)
    lines: dict[str, Line[Waiter]] = field(default_factory=dict)
    busy: dict[str, Line[Waiter]] = field(default_factory=dict)
    retries: dict[str, Retries] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    _unserved: dict[tuple[str, str], float] = field(default_factory=dict)
    _unnamed: dict[str, float] = field(default_factory=dict)
    saw_depth: Callable[[str, int], None] = lambda modality, calls: None

    @property
    def queued(self) -> int:
        """Calls that wait now."""
        return sum(line.calls for line in list(self.busy.values()))

    def line_of(self, model: str) -> Line[Waiter]:
        """The calls that wait for a model."""
        line = self.lines.get(model)
        if line is None:
            for idle in [each for each in self.lines if each not in self.busy]:
                if len(self.lines) < MODELS_AT_MOST:
                    break
                del self.lines[idle]
            line = self.lines[model] = Line()
        return line

    def slots_of(self, identity: str, limit: int, most: int | None = None) -> Slots:
        """An engine's slots; a changed limit keeps what is taken.

        `most`: the limit follows what calls take, up to so many; None = it stays as it is declared.
        """
        slots = self.slots.get(identity)
        if slots is None:
            slots = self.slots[identity] = Slots(limit=limit)
        slots.declare(limit, most)
        return slots

    def group_of(self, name: str, limit: int) -> Slots:
        """A group's slots."""
        slots = self.groups.setdefault(name, Slots(limit=limit))
        slots.limit = limit
        return slots

    def health_of(self, identity: str) -> Health:
        """An engine's health."""
        found = self.health.get(identity)
        if found is None:
            found = self.health[identity] = Health()
        return found

    def heed(
        self, identity: str, reading: Load | Signals | bool, now: float, every_s: float
    ) -> None:
        """What an engine said of its load, or its health path of it: once a reading, not a call."""
        health, slots = self.health.get(identity), self.slots.get(identity)
        if health is None or slots is None:
            return
        if isinstance(reading, Load):
            health.heard(reading, slots.taken + slots.elsewhere, now, every_s)
        elif isinstance(reading, bool):
            health.probed(reading, now, every_s)

    def is_busy(self, identity: str) -> bool:
        """Whether an engine has little room left."""
        slots = self.slots.get(identity)
        return slots is not None and slots.taken + slots.elsewhere > BUSY * slots.limit

    def standing_of(self, identity: str, name: str) -> Standing:
        """How an engine stands for the model that it calls so."""
        found = self.standings.get((identity, name))
        if found is None:
            found = self.standings[identity, name] = Standing()
        return found

    def retries_of(self, model: str) -> Retries:
        """How many calls of a model may be tried once more."""
        found = self.retries.get(model)
        if found is None:
            while len(self.retries) >= MODELS_AT_MOST:
                del self.retries[next(iter(self.retries))]
            found = self.retries[model] = Retries()
        return found

    def learn(self, model: str, used: Mapping[str, int]) -> None:
        """A call of this model took so much of what is learned."""
        expected = self.expected.get(model)
        if expected is None:
            while len(self.expected) >= MODELS_AT_MOST:
                del self.expected[next(iter(self.expected))]
            expected = self.expected[model] = Expected()
        expected.learn(used)

    def prune(self, backends: Iterable[Backend], now: float) -> None:
        """Forget how engines stood for models that these serve no more, after a while; and for
        classes that are asked for no more."""
        served = {(each.identity, name) for each in backends for name in each.serves.values()}
        since = {key: self._unserved.get(key, now) for key in self.standings.keys() - served}
        for key, at in list(since.items()):
            if now - at >= UNSERVED_KEPT_S and not self.standings[key].work:
                del self.standings[key], since[key]
        self._unserved = since
        for standing in self.standings.values():
            standing.forget(now)

    def forget_models(self, named: Set[str], now: float) -> None:
        """Forget what is known of models that are named no more, after a while."""
        known = self.expected.keys() | self.lines.keys() | self.retries.keys()
        since = {model: self._unnamed.get(model, now) for model in known - named}
        for model, at in list(since.items()):
            if now - at >= UNSERVED_KEPT_S and model not in self.busy:
                for kept in (self.expected, self.lines, self.retries):
                    kept.pop(model, None)
                del since[model]
        self._unnamed = since

    def forget(self, identity: str) -> None:
        """An engine that is named nowhere any more, and has nothing in hand."""
        self.slots.pop(identity, None)
        self.health.pop(identity, None)
        for key in [key for key in self.standings if key[0] == identity]:
            del self.standings[key]
