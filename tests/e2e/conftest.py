"""Gateways and engines for end-to-end tests."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from oracle.engine import ScriptedEngine

from modgate.api.body import Body
from modgate.pipeline import Exchange


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """A scripted engine that answers well unless a test sets its `script_for`."""
    async with ScriptedEngine() as running:
        yield running


@pytest.fixture
def nothing_waits_for_the_collector() -> Iterator[None]:
    """However requests end, they and their prompts are gone then, and not some collection later."""
    gc.collect()
    before = {id(each) for each in _alive()}  # the bodies that modules of tests have
    gc.disable()
    yield
    left = [each for each in _alive() if id(each) not in before]
    gc.enable()
    assert left == []


def _alive() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, Exchange | Body)]
