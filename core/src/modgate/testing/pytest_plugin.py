"""The pytest plugin: fixtures for tests of plugins.

Loaded wherever modgate is installed, so nothing is imported here that a test did not ask for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modgate.api.json import Json
from modgate.testing.clock import FakeClock

if TYPE_CHECKING:
    from modgate.testing.backend import FakeBackend
    from modgate.testing.gateway import Gateway


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


@pytest.fixture
async def gateway(
    tmp_path: Path, fake_backend: FakeBackend
) -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Starts a gateway with one plugin in front of `fake_backend`: `await gateway("detect")`.

    Further arguments are those of `modgate.testing.gateway.start`.
    """
    from modgate.testing.gateway import start

    async with AsyncExitStack() as stack:

        async def started(plugin: str, **more: Json) -> Gateway:
            made = await start(tmp_path, plugin, fake_backend.url, **more)
            stack.push_async_callback(made.close)
            return made

        yield started
