"""Gateways and engines for end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from oracle.engine import ScriptedEngine


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """A scripted engine that answers well unless a test sets its `script_for`."""
    async with ScriptedEngine() as running:
        yield running
