"""Opening the levels of limits: this gateway's own, which its disk keeps, or a store's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modgate.api.secret import Secret
from modgate.clock import Clock
from modgate.limits.hosted import SCHEME, HostedStore
from modgate.limits.level_file import LevelFile
from modgate.limits.redis_store import MissingRedis, RedisStore
from modgate.limits.shared import SharedAccount
from modgate.limits.state import LimitState
from modgate.limits.store_link import StoreLink
from modgate.problems import ConfigError, Problem
from modgate.replays.redis_store import RedisReplays
from modgate.snapshot.blueprint import Blueprint

FILE = "levels"


@dataclass(frozen=True, slots=True)
class OpenedLevels:
    """What limits are charged to.

    `shared`, `replays`: of a gateway that shares them at a store.  `level_file`: of one that does
    not.
    """

    counted: LimitState
    shared: SharedAccount | None = None
    replays: RedisReplays | None = None
    level_file: LevelFile | None = None


def open_levels(made: Blueprint, directory: Path, clock: Clock) -> OpenedLevels:
    """Open what `[limits.store]` names.  ConfigError for a store that cannot be used."""
    section = made.linked.file.limits.store
    counted = LimitState(offset_s=clock.wall() - clock.now(), shared=section is not None)

    def now_ms() -> int:
        return counted.ms(clock.now())

    def ahead_ms() -> int:
        return counted.ahead_ms(clock.now(), clock.wall())

    if section is None:
        level_file = LevelFile(directory / FILE, now_ms, ahead_ms)
        counted.levels = level_file.levels
        return OpenedLevels(counted, level_file=level_file)
    store = _store(section.url, section.password, clock)
    link = StoreLink(store, section.deadline, ahead_ms)
    shared = SharedAccount(link, f"{os.urandom(6).hex()}-", now_ms, replicas=section.replicas)
    counted.levels = shared
    replays = None
    if isinstance(store, RedisStore):
        replays = RedisReplays(store.client, section.deadline, section.place(None) or "")
    return OpenedLevels(counted, shared, replays)


def _store(url: str, password: Secret | None, clock: Clock) -> RedisStore | HostedStore:
    try:
        if url.startswith(SCHEME):
            return HostedStore(Path(url.removeprefix(SCHEME)), clock)
        return RedisStore(url, password)
    except (MissingRedis, ValueError) as error:
        raise ConfigError([Problem(message=str(error), path="limits.store.url")]) from None
