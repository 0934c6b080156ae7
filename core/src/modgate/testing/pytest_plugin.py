"""The pytest plugin: fixtures for tests of plugins.

Loaded wherever modgate is installed, so nothing is imported here that a test did not ask for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from modgate.testing.clock import FakeClock

if TYPE_CHECKING:
    from modgate.testing.backend import FakeBackend


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that a test moves."""
    return FakeClock()


@pytest.fixture
async def fake_backend() -> AsyncIterator[FakeBackend]:
    """A scripted engine on loopback; wants `asyncio_mode = "auto"`."""
    from modgate.testing.backend import FakeBackend

    async with FakeBackend() as backend:
        yield backend
