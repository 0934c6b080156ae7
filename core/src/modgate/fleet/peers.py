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
from dataclasses import dataclass, replace
from itertools import islice

from modgate.fleet.cadence import MOST_S, tells_each_s
from modgate.fleet.counters import Counters
from modgate.fleet.frames import (
    CLASSES_AT_MOST,
    TOLD_AT_MOST,
    ClassTold,
    EngineTold,
    Frame,
    PoolTold,
    Refused,
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


@dataclass(slots=True)
class _Peer:
    """A gateway: its last frame, when it came, and what it told, by tag.

    `sent`: of each standing what had been sent there from here by then.
    """

    frame: Frame
    at: float
    engines: Mapping[int, EngineTold]
    standings: Mapping[int, StandingTold]
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
        self._class_tags = {slo: tag_of(slo) for seat in seats for slo, _ in seat.standing.kept}
        self._classes = {tag: slo for slo, tag in self._class_tags.items()}
        for tag in engines.keys() - self._engines.keys():
            engines[tag].slots.heard(0, 0)
        for tag in standings.keys() - self._standings.keys():
            standings[tag].heard(0.0)
            _know(standings[tag], ())
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
        counts: dict[str, dict[Promised, tuple[int, int]]] = {}
        for (slo, phase), each in standing.kept.items():
            counts.setdefault(slo, {})[phase] = each.promised.seen, each.promised.seen_bad
        kept = []
        for slo, by_phase in islice(counts.items(), CLASSES_AT_MOST):
            tag_of_class = self._class_tags.get(slo)
            if tag_of_class is None:
                tag_of_class = self._class_tags[slo] = tag_of(slo)
                self._classes[tag_of_class] = slo
            kept.append(ClassTold.of(tag_of_class, by_phase))
        paces = standing.paces
        return StandingTold(
            tag, standing.work, paces["first_byte"].own, paces["total"].own, tuple(kept)
        )

    def hear(self, frame: Frame, now: float, wall: float) -> bool:
        """A frame came; the answer as that of `settle`.  Refused for an old one.

        Whom it is the first of counts from the next settling on.  What its gateway counted before
        is of no use any more.
        """
        if frame.gateway == self._me:
            if frame.number > self._echo:
                self._echo, self.echoed_at = frame.number, now
            return False
        if abs(wall - frame.at) > CLOCKS_S:
            raise Refused("clock")
        before = self._peers.get(frame.gateway)
        if before is None and len(self._peers) >= PEERS_AT_MOST:
            raise Refused("too_many")
        if before is not None and frame.number <= before.frame.number:
            raise Refused("replayed")
        peer = self._peers[frame.gateway] = self._peer(frame, before, now)
        news = before is None or peer.engines is not before.engines
        if before is not None and news:
            self._count(before, peer, now)
        if (was := self._live.get(frame.gateway)) is None:
            return False
        self._live[frame.gateway] = peer
        self._move_work(was, peer)
        return news and self._move_calls(was, peer)

    def _peer(self, frame: Frame, before: _Peer | None, now: float) -> _Peer:
        """Who told this.  Most frames say what the one before said: then its maps are kept."""
        sent = {tag: standing.sent for tag, standing in self._standings.items()}
        if before is not None:
            engines, standings = before.frame.engines, before.frame.standings
            if frame.engines == engines and frame.standings == standings:
                return _Peer(frame, now, before.engines, before.standings, sent)
        engines_by_tag = {each.tag: each for each in frame.engines}
        standings_by_tag = {each.tag: each for each in frame.standings}
        return _Peer(frame, now, engines_by_tag, standings_by_tag, sent)

    def stood_still(self, seconds: float) -> None:
        """For so long nothing could be heard here: nobody is forgotten for it."""
        self.echoed_at += seconds
        self._peers = {at: replace(peer, at=peer.at + seconds) for at, peer in self._peers.items()}

    def doubt(self, now: float) -> None:
        """Somebody tells what cannot be heard: other gateways may be there."""
        self._doubted_at = now

    def _count(self, before: _Peer, peer: _Peer, now: float) -> None:
        """What rose between two frames of a gateway is counted here, too."""
        for tag, engine in peer.engines.items():
            old = before.engines.get(tag, NO_CALLS)
            if engine.seen != old.seen and (seat := self._engines.get(tag)) is not None:
                _rise(seat.health.errors, engine.seen - old.seen, engine.bad - old.bad, now)
        for tag, told in peer.standings.items():
            was_kept = before.standings.get(tag, NOTHING).kept
            if told.kept == was_kept or (standing := self._standings.get(tag)) is None:
                continue
            was = {each.tag: each for each in was_kept}
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

    def _move_work(self, was: _Peer, peer: _Peer) -> None:
        """What one tells in place of what it told: the same as settling, for one's price."""
        for tag, standing in self._standings.items():
            sent = standing.sent
            more = ALIKE * (was.sent.get(tag, sent) - sent)
            if peer.standings is not was.standings:
                told, before = peer.standings.get(tag, NOTHING), was.standings.get(tag, NOTHING)
                more += told.work - before.work
                if told.first_byte != before.first_byte or told.total != before.total:
                    self._paced.add(tag)
            if more:
                standing.heard(max(0.0, standing.elsewhere + more))
        self._alone()

    def _move_calls(self, was: _Peer, peer: _Peer) -> bool:
        """The same of calls; who begins to have some, or ends to, changes everybody's share."""
        if any(e.taken for e in was.engines.values()) != any(
            e.taken for e in peer.engines.values()
        ):
            return self._settle_calls()
        freed = False
        for tag in was.engines.keys() | peer.engines.keys():
            more = peer.engines.get(tag, NO_CALLS).taken - was.engines.get(tag, NO_CALLS).taken
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
        """What a pool supposes of others is not so where only this gateway is."""
        for standing in self._own:
            if standing.elsewhere:
                standing.heard(0.0)

    def _settle_paces(self, tags: Iterable[int]) -> None:
        told = [peer.standings for peer in self._live.values()]
        for tag in tags:
            known = [standings[tag] for standings in told if tag in standings]
            _know(self._standings[tag], known)


NO_CALLS, NO_PROMISES, NOTHING = EngineTold(0), ClassTold(0), StandingTold(0)


def _engine(tag: int, seat: Seat) -> EngineTold:
    errors = seat.health.errors
    return EngineTold(tag, seat.slots.taken, errors.seen, errors.seen_bad)


def _count_class(
    standing: Standing, slo: str, before: ClassTold, told: ClassTold, now: float
) -> None:
    for (phase, seen, bad), (_, old_seen, old_bad) in zip(told.phases, before.phases, strict=True):
        if seen != old_seen:
            _rise(standing.kept_of(slo, phase).promised, seen - old_seen, bad - old_bad, now)


def _know(standing: Standing, told: Sequence[StandingTold]) -> None:
    """Estimates are made of what all know."""
    standing.paces["first_byte"].heard([each.first_byte for each in told])
    standing.paces["total"].heard([each.total for each in told])
    standing.stir.tell()


def _rise(counters: Counters, n: int, bad: int, now: float) -> None:
    """So many more; a count that fell began anew."""
    if 0 < n <= RISES_AT_MOST:
        counters.heard(now, n, min(max(0, bad), n))
