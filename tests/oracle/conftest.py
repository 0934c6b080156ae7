"""An engine that answers well, for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from oracle.engine import ScriptedEngine


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine() as started:
        yield started
