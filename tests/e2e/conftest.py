"""Gateways and engines for end-to-end tests."""

from __future__ import annotations

import gc
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path

import pytest
from aiohttp import web
from oracle.engine import ScriptedEngine
from servers import Server, redis

from modgate.http import connection
from modgate.http.connection import Connection
from modgate.pipeline import Exchange
from modgate.snapshot import blueprint
from modgate.state import State


@pytest.fixture(scope="module", autouse=True)
def installed_once() -> Iterator[None]:
    """Where plugins are looked for is read once a path, which took half of a gateway's start."""
    find = blueprint.find
    found = cache(lambda path: find())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blueprint, "find", lambda: found(tuple(sys.path)))
        yield


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """A scripted engine that answers well unless a test sets its `script_for`."""
    async with ScriptedEngine() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    """A Redis."""
    with redis(tmp_path) as running:
        yield running


@pytest.fixture
def nothing_waits_for_the_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However requests and connections end, they and what they were sent are gone then, and not
    some collection later."""
    made: list[weakref.ref[Exchange | Connection]] = []
    begin = Exchange.__init__

    def begun(self: Exchange, state: State, request: web.BaseRequest) -> None:
        made.append(weakref.ref(self))
        begin(self, state, request)

    class Watched(Connection):
        def __init__(self, server: connection.Server) -> None:
            made.append(weakref.ref(self))
            super().__init__(server)

    monkeypatch.setattr(Exchange, "__init__", begun)
    monkeypatch.setattr(connection, "Connection", Watched)
    gc.disable()
    yield
    left = [each() for each in made if each() is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # sockets of engines that were killed
        gc.collect(0)  # all that came since, or another test would be told of them
    gc.enable()
    assert left == []
