"""What outlives a snapshot: kept by identity, so that a reload forgets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modgate.api.auth import Caller
from modgate.api.residency import may_lie
from modgate.api.select import Backend
from modgate.api.vitals import Vitals
from modgate.auth.attempts import Attempts
from modgate.auth.flights import Flights
from modgate.auth.verdict import Bad, Good
from modgate.clock import Clock
from modgate.complaints import Complaints
from modgate.connections import Connections
from modgate.decoders.pool import Decoders
from modgate.engines.supervisor import Engines
from modgate.entropy import Entropy
from modgate.errors import LedgerUnavailable, RegionForbidden
from modgate.explain.trails import Trails
from modgate.fleet.peer_view import NoPeers, PeerView
from modgate.fleet.state import FleetState
from modgate.heavy import heavy_threads
from modgate.idempotency import IdempotencyKeys, Retention
from modgate.ledger.shipping import Shipping
from modgate.ledger.writer import Ledger
from modgate.limits.level_file import LevelFile
from modgate.limits.shared import Miss, SharedAccount
from modgate.limits.state import LimitState
from modgate.members import Members
from modgate.money.statements import Statements
from modgate.observe.metrics import Counter
from modgate.observe.observer import Observer
from modgate.observe.stale_series import StaleSeries
from modgate.replays.memory import MemoryReplays
from modgate.spool import Spool
from modgate.telemetry.board import Board
from modgate.telemetry.rounds import Rounds
from modgate.upstream import documents
from modgate.upstream.ca_bundles import CaBundles
from modgate.upstream.fetch import Fetcher
from modgate.upstream.scraper import Scraper
from modgate.upstream.world import World
from modgate.waker import Waker

if TYPE_CHECKING:
    from modgate.auth.keysets import KeySets
    from modgate.draft import Draft
    from modgate.gateway import Gateway
    from modgate.pipeline import Exchange

FETCHERS_AT_MOST = 4


@dataclass(eq=False, kw_only=True)
class State:
    """Everything that outlives a snapshot.

    `sample`: share of requests whose trace is exported.  `lies_in`: the regions of the places that
    every request writes to: the state directory, the spool, the store of limits.
    """

    clock: Clock
    spool: Spool
    ledger: Ledger
    observer: Observer
    decoders: Decoders
    engines: Engines
    limits: LimitState
    attempts: Attempts = field(default_factory=Attempts)
    complaints: Complaints = field(default_factory=Complaints)
    shared: SharedAccount | None = None
    level_file: LevelFile | None = None
    shipping: Shipping = field(default_factory=Shipping)
    fleet: FleetState = field(default_factory=FleetState)
    peers: PeerView = field(default_factory=NoPeers)
    entropy: Entropy = field(default_factory=Entropy)
    sample: float = 0.0
    admin_on_loopback: bool = False
    draining: bool = False
    lies_in: tuple[str | None, ...] = ()
    statements: Statements = field(init=False)
    idempotency: IdempotencyKeys = field(init=False)
    members: Members = field(init=False)
    stale_series: StaleSeries = field(init=False)
    board: Board = field(default_factory=Board)
    trails: Trails = field(default_factory=Trails)
    scraper: Scraper = field(init=False)
    rounds: Rounds = field(init=False)
    waker: Waker = field(init=False)
    scorer_faults: Counter = field(init=False)
    world: World = field(default_factory=World)
    ca_bundles: CaBundles = field(default_factory=CaBundles)
    connections: Connections = field(init=False)
    _fetchers: dict[tuple[str, ...], Fetcher] = field(default_factory=dict)
    _live: dict[Exchange, Gateway] = field(default_factory=dict)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _gateway: Gateway | None = None
    lookups: Flights[Good | Bad | None] = field(default_factory=Flights)
    _key_sets: KeySets | None = None
    heavy_threads: ThreadPoolExecutor = field(default_factory=heavy_threads)

    def __post_init__(self) -> None:
        self.statements = Statements(self.ledger.directory, self.clock.wall)
        self.observer.also(self.statements.recent.observe)
        self.idempotency = IdempotencyKeys(MemoryReplays(self.clock.now), None, Retention())
        self.stale_series = StaleSeries(self.observer.registry, "backend")
        self.board.heed = self.fleet.heed
        self.scorer_faults = self.observer.registry.counter(
            "modgate_scorer_faults_total",
            "answers of filters and scorers that broke, were none, or took too long",
            "scorer",
            "fault",
        )
        self.waker = Waker(
            self.observer.registry.counter(
                "modgate_wakes_total",
                "held calls that somebody was told of, for an engine to be made",
                "discover",
                "ended",
            )
        )
        self.scraper = Scraper(self.ca_bundles)
        self.rounds = Rounds(self.scraper, self.board, self.clock, busy=self.fleet.is_busy)
        self.connections = Connections(self.ca_bundles, self.fleet)
        self.members = Members(world=self.world, clock=self.clock, changed=self.members_changed)

    def members_changed(self) -> None:
        """Engines were found or lost: tell every snapshot that still serves requests.

        An older one only while its discoverers are still at work.
        """
        if self._gateway is not None:
            gateway = self._gateway
            snapshots = {each.dispatch: each for each in self._live.values()}
            snapshots[gateway.dispatch] = gateway
            for each in snapshots.values():
                if each is gateway or self.members.look(each.discoverers):
                    each.dispatch.use(self.members.of(each.declared, each.discoverers))
            self.peers.use(gateway.fleet.pools, gateway.fleet.waiting.pump)
            self.rounds.use(gateway.checkups.questions(gateway.backends))

    def gateway(self) -> Gateway:
        """The current snapshot."""
        assert self._gateway is not None
        return self._gateway

    def key_sets(self) -> KeySets:
        """The key sets of issuers; made when first wanted, because they need the extra `jwt`."""
        if self._key_sets is None:
            from modgate.auth.keysets import KeySets

            self._key_sets = KeySets(documents.get, self.clock, self.keys_changed)
        return self._key_sets

    def keys_changed(self) -> None:
        """Keys were made or revoked: forget the verdicts that are cached."""
        self.attempts.forget_bad()
        self.gateway().gate.cache.clear()
        self.gateway().admin_gate.cache.clear()

    def guard_residency(self, caller: Caller) -> None:
        """RegionForbidden where this gateway would keep data that must not leave its regions."""
        if not all(may_lie(caller.policy.regions, region) for region in self.lies_in):
            raise RegionForbidden("this gateway keeps data where this caller's may not be")

    def use(self, gateway: Gateway) -> None:
        """Make this the current snapshot, in one assignment."""
        self._gateway = gateway
        self.peers.use(gateway.fleet.pools, gateway.fleet.waiting.pump)
        self.rounds.use(gateway.checkups.questions(gateway.backends))

    def vitals(self, backend: Backend) -> Vitals:
        """What an engine and its hardware said of themselves lately."""
        return self.board.vitals(backend.identity, self.clock.now())

    def opened(self, draft: Draft) -> None:
        """Write the open frame before a request's first call, and before one in another region.

        A request that was in two regions has none from then on.
        """
        if draft.opened and draft.opened_in in ("", draft.tries[-1].region):
            return
        draft.opened_in = draft.region()
        told = self.ledger.opened(draft.opening())
        if told and draft.owed and not draft.opened:
            self.ledger.touched(draft.request_id, draft.owed)
        draft.opened = told or draft.opened
        if not draft.opened:
            raise LedgerUnavailable("the gateway cannot write its usage ledger")

    def request_id(self) -> str:
        """A new request id: a UUID of version 7 (RFC 9562), so that what is kept by id grows at its
        end; 72 bits of it are random."""
        random = self.entropy(9).hex()
        return f"req_{int(self.clock.wall() * 1000):012x}7{random[:3]}8{random[3:]}"

    def fetcher_of(self, allow: tuple[str, ...]) -> Fetcher:
        """The fetcher of an allow-list, shared by snapshots; ValueError for a bad entry."""
        if allow not in self._fetchers:
            while len(self._fetchers) >= FETCHERS_AT_MOST:
                self._fetchers.pop(next(iter(self._fetchers))).close()
            self._fetchers[allow] = Fetcher(allow, self.clock)
        return self._fetchers[allow]

    async def prune(self, backends: Sequence[Backend]) -> None:
        """Drop what has not been named for ten minutes, so that a mistaken edit costs nothing."""
        now = self.clock.now()
        self.fleet.prune(backends, now)
        self.fleet.forget_models(self.gateway().table.models.keys(), now)
        self.stale_series.look({backend.name for backend in backends}, now)
        self.observer.recorder.forget_departed(now)
        await self.connections.prune(backends, now)

    def enter(self, exchange: Exchange) -> None:
        """A request begins; it is served from the current snapshot to its end."""
        self._live[exchange] = self.gateway()

    def leave(self, exchange: Exchange) -> None:
        """A request ended."""
        self._live.pop(exchange, None)
        if not self._live:
            self._idle.set()

    def cut(self) -> None:
        """End the requests in hand, each with its own error."""
        for exchange in list(self._live):
            exchange.cut()

    @property
    def live(self) -> int:
        """Requests in hand."""
        return len(self._live)

    async def fetch_limits(self, miss: Miss) -> None:
        """Get from the shared store what a request needs of a limit."""
        assert self.shared is not None, "only a shared account misses"
        await self.shared.fetch(miss)

    @property
    def limits_down(self) -> bool:
        """Whether limits are kept without their shared store, which does not answer."""
        return self.shared is not None and self.shared.down

    def ready(self) -> bool:
        """Whether new requests are welcome.

        Not draining, the ledger writable, every discoverer heard from, and some backend there, or
        a discoverer that says that there is none.
        """
        if self.draining or not self.ledger.writable or not self.members.heard():
            return False
        return bool(self.gateway().fleet.pools) or self.members.said_none()

    async def drained(self, within_s: float) -> bool:
        """Wait for the requests in hand; False when some are left."""
        deadline = self.clock.now() + within_s
        while self._live and (left := deadline - self.clock.now()) > 0:
            self._idle.clear()
            try:
                await asyncio.wait_for(self._idle.wait(), left)
            except TimeoutError:
                break
        return not self._live

    async def close(self) -> None:
        """Close everything, the ledger last; then ship the rest of it."""
        if self._gateway is not None:
            await self._gateway.close()
        await self.peers.close()
        await self.members.close()
        await self.waker.close()
        await self.rounds.close()
        await self.scraper.close()
        self.world.close()
        await self.connections.close()
        for fetcher in self._fetchers.values():
            fetcher.close()
        if self._key_sets is not None:
            await self._key_sets.close()
        await self.lookups.close()
        await self.decoders.close()
        await self.engines.close()
        self.heavy_threads.shutdown(wait=True)
        await self.idempotency.close()
        for account in (self.shared, self.level_file):
            if account is not None:
                await account.close()
        self.statements.close()
        await self.observer.close()
        self.ledger.close()
        await asyncio.to_thread(self.shipping.close)
