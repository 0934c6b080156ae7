"""The view of other gateways: opened as the file says, and shown to people."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modgate.api.json import Json
from modgate.api.secret import Secret
from modgate.clock import Clock
from modgate.fleet.peer_view import NoPeers, PeerView
from modgate.fleet.redis_view import RedisView
from modgate.limits.redis_store import MissingRedis
from modgate.observe.metrics import Labels
from modgate.problems import ConfigError, Problem
from modgate.snapshot.blueprint import Blueprint
from modgate.state import State

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECTIONS = 3  # to listen, to tell, and to say farewell


def open_peers(made: Blueprint, clock: Clock) -> PeerView:
    """The view that the file asks for, begun; ConfigError for one that cannot be."""
    section = made.linked.file.peers
    if section is None:
        return NoPeers()
    assert section.secret is not None, "linking refuses it"
    try:
        clients = redis_clients(section.url, section.password)
    except (MissingRedis, ValueError) as error:
        raise ConfigError([Problem(message=str(error), path="peers.url")]) from None
    name = f"{socket.gethostname()}:{os.getpid()}"
    view = RedisView(clients, secret=section.secret, clock=clock, cell=section.cell, name=name)
    view.start()
    return view


def redis_clients(url: str, password: Secret | None = None) -> Callable[[], Redis]:
    """What makes the connections of one link; ValueError for an address that is none."""
    try:
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise MissingRedis("a view in Redis needs modgate[redis]") from None

    def made() -> Redis:
        pool = ConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            retry=Retry(NoBackoff(), 0),
            password=password.reveal() if password is not None else None,
        )
        return Redis.from_pool(pool)

    made()  # nothing is connected yet; a bad address is told at the start
    return made


def peers_of(state: State) -> Json:
    """How the view stands, for pages."""
    seen = state.peers.seen()
    return {
        "view": seen.sight,
        "heard_of": list(seen.heard_of),
        "refused_frames": dict(seen.refused),
        "exact": {model: pool.exact for model, pool in state.gateway().fleet.pools.items()},
    }


def register_peers(state: State) -> None:
    """Whether others are heard, how many, and what was refused; nothing where none are asked."""
    registry = state.observer.registry

    def some(value: float) -> Mapping[Labels, float]:
        return {} if state.peers.seen().sight == "alone" else {(): value}

    registry.gauge(
        "modgate_peer_view_up",
        "1 while this gateway hears what others have in hand, 0 while it compares samples only",
        lambda: some(float(state.peers.seen().sight == "up")),
    )
    registry.gauge(
        "modgate_peers",
        "other gateways whose work counts here",
        lambda: some(len(state.peers.seen().heard_of)),
    )
    registry.total(
        "modgate_peer_refused_frames_total",
        "frames that counted for nothing",
        lambda: {(why,): float(n) for why, n in state.peers.seen().refused.items()},
        "reason",
    )
    registry.gauge(
        "modgate_backend_elsewhere_calls",
        "calls in flight of other gateways, as they told last",
        lambda: _elsewhere(state),
        "backend",
    )


def _elsewhere(state: State) -> Mapping[Labels, float]:
    if state.peers.seen().sight == "alone":
        return {}
    return {
        (each.name,): float(slots.elsewhere)
        for each in state.gateway().backends
        if (slots := state.fleet.slots.get(each.identity)) is not None
    }
