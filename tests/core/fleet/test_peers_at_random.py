"""Gateways tell, hear, lose and reload in any order, and know what is in hand all the same."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from rigs.telling import ENGINES, NOTHING, WALL, Gateway

from modgate.fleet.frames import Frame, RefusedFrame, tag_of
from modgate.fleet.peers import EXPIRES_S


def told(frame: Frame, engine: str) -> tuple[int, float]:
    """What a frame tells of one engine."""
    standings = {tag_of(f"http://{engine}:8000", name) for name in ("e", "f")}
    calls = [each.taken for each in frame.engines if each.tag == tag_of(f"http://{engine}:8000")]
    return sum(calls), sum(each.work for each in frame.standings if each.tag in standings)


class Gossip(RuleBasedStateMachine):
    """One gateway hears three others; frames are lost, late, doubled, and it is reloaded."""

    who, size = st.integers(0, 2), st.integers(0, 5)

    def __init__(self) -> None:
        super().__init__()
        self.here = Gateway(1)
        self.others = [Gateway(number + 2) for number in range(3)]
        self.now = 0.0
        self.held: list[list[tuple[str, float]]] = [[], [], []]
        self.sent: list[list[Frame]] = [[], [], []]
        self.heard: dict[int, tuple[float, Frame]] = {}

    @rule(who=who, size=size)
    def call(self, who: int, size: int) -> None:
        engine = ENGINES[size % 3]
        self.others[who].take("m", engine, float(size))
        self.held[who].append((engine, float(size)))

    @rule(who=who)
    def end(self, who: int) -> None:
        if self.held[who]:
            engine, work = self.held[who].pop()
            [seat] = [s for s in self.others[who].fleet.pools["m"].seats if s.backend == engine]
            seat.give(work)

    @rule(who=who, lost=st.booleans())
    def tell(self, who: int, lost: bool) -> None:
        frame = self.others[who].peers.frame(self.now, WALL + self.now)
        self.sent[who] += [] if lost else [frame]

    @rule(who=who, at=st.integers(0, 3))
    def hear(self, who: int, at: int) -> None:
        if at >= len(self.sent[who]):
            return
        frame = self.sent[who][at]
        if who in self.heard and frame.number <= self.heard[who][1].number:
            with pytest.raises(RefusedFrame, match="replayed"):
                self.here.peers.hear(frame, self.now, WALL + self.now)
            return
        self.here.peers.hear(frame, self.now, WALL + self.now)
        self.heard[who] = self.now, frame

    @rule(size=size)
    def wait(self, size: int) -> None:
        self.now += size * 0.3

    @rule(size=size)
    def reload(self, size: int) -> None:
        self.here.reload(ENGINES[: 1 + size % 3], self.now)
        if size == 0:
            self.here.state.forget("http://c:8000")

    @invariant()
    def it_is_what_the_living_told_last(self) -> None:
        self.here.peers.settle(self.now)
        there = {seat.backend for seat in self.here.fleet.pools["m"].seats}
        living = [frame for at, frame in self.heard.values() if self.now - at <= EXPIRES_S]

        assert len(self.here.peers.heard_of) == len(living)
        for slots in self.here.state.slots.values():
            assert bool(slots.share) == bool(slots.elsewhere)
            assert slots.share <= slots.limit
        for name, (calls, work) in self.here.elsewhere().items():
            expected = [told(frame, name) for frame in living] if name in there else []
            assert calls == sum(each for each, _ in expected)
            assert work == pytest.approx(sum(each for _, each in expected))

    def teardown(self) -> None:
        self.here.peers.settle(self.now + EXPIRES_S + 0.01)

        assert self.here.elsewhere() == NOTHING
        assert all(pool.exact and not pool.others for pool in self.here.fleet.pools.values())


Gossip.TestCase.settings = settings(derandomize=True, deadline=None, max_examples=60)
TestGossip = Gossip.TestCase
