"""What other gateways have in hand at the same engines, as they tell each other.

Pure: who carries the frames, and how often, is not known here.  A frame moves what counts by what
is new in it; each second, and when somebody comes or goes, all is worked out anew from the last
frame of each.  So nothing of what one told outlives it, whatever was lost, reloaded or discovered
meanwhile.  Only counts of a window (promises, errors) are added as they
rise, and leave with their window.

Source: algorithms.md 7 (gossip), 1.2 (exchange of estimates).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from modgate.fleet.cadence import MOST_S, tells_each_s
from modgate.fleet.counters import Counters
from modgate.fleet.frames import (
    CLASSES_AT_MOST,
    TOLD_AT_MOST,
    ClassTold,
    EngineTold,
    Frame,
    PoolTold,
    RefusedFrame,
    StandingTold,
    tag_of,
)
from modgate.fleet.pool import ALIKE, Pool
from modgate.fleet.slots import Seat
from modgate.fleet.standing import Standing
from modgate.fleet.terms import Promised

EXPIRES_S = 1.0
REMEMBERED_S = 60.0  # the number that was heard last, so that nobody tells it again
CLOCKS_S = 30.0  # a frame that is older by its own clock is none, so more need not be remembered
PEERS_AT_MOST = 64
RISES_AT_MOST = 100_000  # of a count between two frames: more is no news but a mistake
LONG_AGO = float("-inf")

T = TypeVar("T", EngineTold, StandingTold)
Changes = Sequence[tuple[int, T, T]]
Seen = Sequence[tuple[tuple[str, Promised], int, int]]


@dataclass(slots=True)
class _Peer:
    """A gateway: its last frame, when it came, and what it told, by tag.

    `sent`: of each standing what had been sent there from here by then.
    """

    frame: Frame
    at: float
    engines: dict[int, EngineTold]
    standings: dict[int, StandingTold]
    sent: Mapping[int, float]


class Peers:
    """The view of other gateways onto the pools of the moment, kept in their seats.

    `gateway`: this one's number, drawn by lot.  `use` before all else, `settle` again and
    again.  `echoed_at`: when the last of its own frames came back.
    """

    def __init__(self, gateway: int, name: str = "") -> None:
        self._me = gateway
        self._name = name
        self._number = 0
        self._echo = 0
        self.echoed_at = LONG_AGO
        self._doubted_at = LONG_AGO
        self._peers: dict[int, _Peer] = {}
        self._live: dict[int, _Peer] = {}
        self._sent: Mapping[int, float] = {}
        self._sent_last: list[float] = []
        self._told: dict[int, tuple[Seen, tuple[ClassTold, ...]]] = {}
        self._afresh_at = LONG_AGO
        self._paced: set[int] = set()  # standings of whose pace others told something new
        self._pools: Mapping[int, Pool] = {}
        self._engines: Mapping[int, Seat] = {}
        self._standings: Mapping[int, Standing] = {}
        self._own: Sequence[Standing] = ()
        self._many = 1
        self._classes: dict[int, str] = {}
        self._class_tags: dict[str, int] = {}

    def use(self, pools: Mapping[str, Pool], now: float, *, heard: bool = True) -> None:
        """These are the pools from now on, by model; `heard` as in `settle`.

        A seat without a key is of an engine that only this gateway reaches.
        """
        for pool in self._pools.values():
            pool.others, pool.elsewhere, pool.exact = 0, 0.0, False
        engines, standings = self._engines, self._standings
        shared = {name: pool for name, pool in pools.items() if any(s.key for s in pool.seats)}
        seats = [seat for pool in shared.values() for seat in pool.seats]
        self._pools = {tag_of(model): pool for model, pool in shared.items()}
        self._engines = {tag_of(seat.key): seat for seat in seats if seat.key}
        self._standings = {tag_of(s.key, s.model): s.standing for s in seats if s.key}
        self._own = [seat.standing for seat in seats if not seat.key]
        self._class_tags = {slo: tag_of(slo) for seat in seats for slo, _ in seat.standing.records}
        self._classes = {tag: slo for slo, tag in self._class_tags.items()}
        for tag in engines.keys() - self._engines.keys():
            engines[tag].slots.heard(0, 0)
        for tag in standings.keys() - self._standings.keys():
            standings[tag].heard(0.0)
            _know(standings[tag], ())
        self._sent, self._sent_last, self._told = {}, [], {}
        self._afresh_at = LONG_AGO
        self.settle(now, heard=heard)

    @property
    def tells_each_s(self) -> float:
        """Seconds to its next frame: seldom where there is nobody to tell, or nothing."""
        if not self._live or not any(seat.slots.taken for seat in self._engines.values()):
            return MOST_S
        return tells_each_s(len(self._engines), 1 + len(self._live))

    @property
    def heard_of(self) -> Sequence[str]:
        """The gateways whose word counted at the last settling."""
        return sorted(peer.frame.name for peer in self._live.values())

    def frame(self, now: float, wall: float) -> Frame:
        """What this gateway tells now; `wall`: epoch seconds.

        What was never used is not told, and beyond so much nothing.
        """
        self._number += 1
        engines = (_engine(tag, seat) for tag, seat in self._engines.items())
        standings = (self._standing(tag, each) for tag, each in self._standings.items())
        used = (s for s in standings if s.work or s.first_byte or s.total or s.kept)
        pools = (PoolTold(tag, pool.offered(now)) for tag, pool in self._pools.items())
        return Frame(
            gateway=self._me,
            number=self._number,
            at=wall,
            name=self._name,
            engines=tuple(islice((e for e in engines if e.taken or e.seen), TOLD_AT_MOST)),
            standings=tuple(islice(used, TOLD_AT_MOST)),
            pools=tuple(islice(pools, TOLD_AT_MOST)),
        )

    def farewell(self, wall: float) -> Frame:
        """The last frame: nothing is in hand here any more."""
        self._number += 1
        return Frame(gateway=self._me, number=self._number, at=wall, name=self._name, leaves=True)

    def _standing(self, tag: int, standing: Standing) -> StandingTold:
        paces = standing.paces
        first, total = paces["first_byte"].own, paces["total"].own
        return StandingTold(tag, standing.work, first, total, self._kept(tag, standing))

    def _kept(self, tag: int, standing: Standing) -> tuple[ClassTold, ...]:
        """By class; of most standings none was judged since the last frame."""
        seen = [(of, k.promised.seen, k.promised.seen_bad) for of, k in standing.records.items()]
        last = self._told.get(tag)
        if last is not None and last[0] == seen:
            return last[1]
        counts: dict[str, dict[Promised, tuple[int, int]]] = {}
        for (slo, phase), many, bad in seen:
            counts.setdefault(slo, {})[phase] = many, bad
        kept = []
        for slo, by_phase in islice(counts.items(), CLASSES_AT_MOST):
            tag_of_class = self._class_tags.get(slo)
            if tag_of_class is None:
                tag_of_class = self._class_tags[slo] = tag_of(slo)
                self._classes[tag_of_class] = slo
            kept.append(ClassTold.of(tag_of_class, by_phase))
        told = self._told[tag] = seen, tuple(kept)
        return told[1]

    def hear(self, frame: Frame, now: float, wall: float) -> bool:
        """A frame came; the answer as that of `settle`.  RefusedFrame for an old one.

        Whom it is the first of counts from the next settling on.  What its gateway counted before
        is of no use any more.
        """
        if frame.gateway == self._me:
            if frame.number > self._echo:
                self._echo, self.echoed_at = frame.number, now
            return False
        if abs(wall - frame.at) > CLOCKS_S:
            raise RefusedFrame("clock")
        peer, sent = self._peers.get(frame.gateway), self._sent_by_now()
        if peer is None:
            if len(self._peers) >= PEERS_AT_MOST:
                raise RefusedFrame("too_many")
            engines = {each.tag: each for each in frame.engines}
            standings = {each.tag: each for each in frame.standings}
            self._peers[frame.gateway] = _Peer(frame, now, engines, standings, sent)
            return False
        before, was_sent = peer.frame, peer.sent
        if frame.number <= before.number:
            raise RefusedFrame("replayed")
        calls = changes(before.engines, frame.engines, peer.engines, NO_CALLS)
        works = changes(before.standings, frame.standings, peer.standings, NOTHING)
        peer.frame, peer.at, peer.sent = frame, now, sent
        self._count(calls, works, now)
        if frame.gateway not in self._live:
            return False
        self._move_work(works, was_sent, sent)
        return bool(calls) and self._move_calls(calls, before, frame)

    def _sent_by_now(self) -> Mapping[int, float]:
        """What was sent from here, by tag; the same mapping as long as nothing more was."""
        sent = [standing.sent for standing in self._standings.values()]
        if sent != self._sent_last:
            self._sent_last = sent
            self._sent = dict(zip(self._standings, sent, strict=True))
        return self._sent

    def stood_still(self, seconds: float) -> None:
        """For so long nothing could be heard here: nobody is forgotten for it."""
        self.echoed_at += seconds
        for peer in self._peers.values():
            peer.at += seconds

    def doubt(self, now: float) -> None:
        """Somebody tells what cannot be heard: other gateways may be there."""
        self._doubted_at = now

    def _count(self, calls: Changes[EngineTold], works: Changes[StandingTold], now: float) -> None:
        """What rose between two frames of a gateway is counted here, too."""
        for tag, old, new in calls:
            if new.seen != old.seen and (seat := self._engines.get(tag)) is not None:
                _rise(seat.health.errors, new.seen - old.seen, new.bad - old.bad, now)
        for tag, before, told in works:
            if told.kept == before.kept or (standing := self._standings.get(tag)) is None:
                continue
            was = {each.tag: each for each in before.kept}
            for kept in told.kept:
                if (slo := self._classes.get(kept.tag)) is not None:
                    _count_class(standing, slo, was.get(kept.tag, NO_PROMISES), kept, now)

    def settle(self, now: float, *, heard: bool = True) -> bool:
        """Put together what counts now; whether calls that wait may find a place that they did not.

        Whoever is silent for a second has nothing in hand that we know of.  `heard`: frames come
        through, so that who is not heard of is not there.
        """
        for gateway in [g for g, p in self._peers.items() if now - p.at > REMEMBERED_S]:
            del self._peers[gateway]
        live = {
            gateway: peer
            for gateway, peer in self._peers.items()
            if now - peer.at <= EXPIRES_S and not peer.frame.leaves
        }
        # What each frame moves is all that there is between two of these, but for rounding.
        afresh = live.keys() != self._live.keys() or now - self._afresh_at >= EXPIRES_S
        self._live = live
        alone = heard and not self._live and now - self._doubted_at > EXPIRES_S
        offered: dict[int, float] = {}
        for each in (told for peer in self._live.values() for told in peer.frame.pools):
            offered[each.tag] = offered.get(each.tag, 0.0) + each.offered
        for tag, pool in self._pools.items():
            pool.others, pool.elsewhere = len(self._live), offered.get(tag, 0.0)
            pool.exact = alone
        self._settle_paces(self._standings.keys() if afresh else self._paced)
        self._paced.clear()
        if not afresh:
            self._alone()
            return False
        self._afresh_at = now
        self._settle_work()
        return self._settle_calls()

    def _settle_calls(self) -> bool:
        """What each has in flight.  Of an engine that is full each of those that have may have its
        share all the same, and takes no more than that while others have theirs."""
        freed = False
        told = [peer.engines for peer in self._live.values()]
        many = 1 + sum([any(each.taken for each in engines.values()) for engines in told])
        self._many = many
        for tag, seat in self._engines.items():
            slots = seat.slots
            taken = sum([engines[tag].taken for engines in told if tag in engines])
            freed |= taken < slots.elsewhere
            slots.heard(taken, max(1, slots.limit // many) if taken else 0)
        return freed

    def _move_work(
        self,
        works: Changes[StandingTold],
        was_sent: Mapping[int, float],
        sent: Mapping[int, float],
    ) -> None:
        """What one tells in place of what it told: the same as settling, for one's price."""
        moved: dict[int, float] = {}
        if was_sent is not sent:
            for tag, by_now in sent.items():
                if (then := was_sent.get(tag, by_now)) != by_now:
                    moved[tag] = ALIKE * (then - by_now)
        for tag, before, told in works:
            moved[tag] = moved.get(tag, 0.0) + (told.work - before.work)
            if told.first_byte != before.first_byte or told.total != before.total:
                self._paced.add(tag)
        for tag, more in moved.items():
            if more and (standing := self._standings.get(tag)) is not None:
                standing.heard(max(0.0, standing.elsewhere + more))
        self._alone()

    def _move_calls(self, calls: Changes[EngineTold], before: Frame, frame: Frame) -> bool:
        """The same of calls; who begins to have some, or ends to, changes everybody's share."""
        if any(e.taken for e in before.engines) != any(e.taken for e in frame.engines):
            return self._settle_calls()
        freed = False
        for tag, was, told in calls:
            more = told.taken - was.taken
            if more and (seat := self._engines.get(tag)) is not None:
                slots = seat.slots
                freed |= more < 0
                elsewhere = slots.elsewhere + more
                slots.heard(elsewhere, max(1, slots.limit // self._many) if elsewhere else 0)
        return freed

    def _settle_work(self) -> None:
        """What each told, and as much as was sent from here since it did: others do likewise."""
        told = [(peer.standings, peer.sent) for peer in self._live.values()]
        for tag, standing in self._standings.items():
            sent, work = standing.sent, 0.0
            for standings, before in told:
                work += ALIKE * (sent - before.get(tag, sent))
                if tag in standings:
                    work += standings[tag].work
            standing.heard(work)
        self._alone()

    def _alone(self) -> None:
        """Where only this gateway sends to an engine, nothing is supposed of others."""
        for standing in self._own:
            if standing.elsewhere:
                standing.heard(0.0)

    def _settle_paces(self, tags: Iterable[int]) -> None:
        told = [peer.standings for peer in self._live.values()]
        for tag in tags:
            if (standing := self._standings.get(tag)) is not None:
                _know(standing, [standings[tag] for standings in told if tag in standings])


def changes(before: Sequence[T], told: Sequence[T], by_tag: dict[int, T], none: T) -> Changes[T]:
    """What is told otherwise than before: the tag, what was told and what is; most frames are of
    the same tags as the one before.  `by_tag` is brought up to date."""
    if len(told) == len(before):
        pairs = zip(before, told, strict=True)
        found = [(new.tag, old, new) for old, new in pairs if new != old]
        if [tag for tag, _, _ in found] == [old.tag for _, old, _ in found]:
            for tag, _, new in found:
                by_tag[tag] = new
            return found
    was: dict[int, T] = by_tag.copy()
    by_tag.clear()
    by_tag.update((each.tag, each) for each in told)
    tags = (*was, *(by_tag.keys() - was.keys()))
    return [(tag, was.get(tag, none), by_tag.get(tag, none)) for tag in tags]


NO_CALLS, NO_PROMISES, NOTHING = EngineTold(0), ClassTold(0), StandingTold(0)


def _engine(tag: int, seat: Seat) -> EngineTold:
    errors = seat.health.errors
    return EngineTold(tag, seat.slots.taken, errors.seen, errors.seen_bad)


def _count_class(
    standing: Standing, slo: str, before: ClassTold, told: ClassTold, now: float
) -> None:
    for (phase, seen, bad), (_, old_seen, old_bad) in zip(told.phases, before.phases, strict=True):
        if seen != old_seen:
            _rise(standing.record_of(slo, phase).promised, seen - old_seen, bad - old_bad, now)


def _know(standing: Standing, told: Sequence[StandingTold]) -> None:
    """Estimates are made of what all know."""
    standing.paces["first_byte"].heard([each.first_byte for each in told])
    standing.paces["total"].heard([each.total for each in told])
    standing.changes.tell()


def _rise(counters: Counters, n: int, bad: int, now: float) -> None:
    """So many more; a count that fell began anew."""
    if 0 < n <= RISES_AT_MOST:
        counters.heard(now, n, min(max(0, bad), n))
