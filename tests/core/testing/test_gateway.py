"""The fixtures of the pytest plugin, as a plugin's author uses them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType

import pytest
from aiohttp import ClientSession
from toys.echo import Toy, ToyHome
from toys.parrot import Parrot

from modgate.plugin import hookimpl
from modgate.problems import ConfigError
from modgate.testing import FakeBackend, FakeClock, Gateway, Scripted

Starts = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def toy() -> ModuleType:
    module = ModuleType("toy")
    module.modgate_modalities = hookimpl(lambda: [Toy])
    module.modgate_dialects = hookimpl(lambda: [ToyHome, Parrot])
    return module


async def test_a_gateway_is_in_front_of_the_fake_backend(
    gateway: Starts, fake_backend: FakeBackend, toy: ModuleType
) -> None:
    fake_backend.answer("/echo", Scripted(reply=b'{"text":"HI","tokens":1}'))
    running = await gateway("toy", module=toy, section="most = 50")
    asked = {"model": "m", "text": "hi"}
    async with ClientSession() as client:
        target = f"{running.url}/v1/echo"
        async with client.post(target, json=asked) as reply:
            stranger = reply.status
        async with client.post(target, json=asked, headers=running.headers) as reply:
            status, said, units = reply.status, await reply.json(), reply.headers

    assert (stranger, status, said) == (401, 200, {"text": "HI"})
    assert "characters=2" in units["x-modgate-units"]
    [call] = fake_backend.calls
    assert call.json() == {"texts": ["hi"], "model": "engine-m"}


async def test_a_section_that_does_not_fit_is_told(gateway: Starts, toy: ModuleType) -> None:
    with pytest.raises(ConfigError, match="most"):
        await gateway("toy", module=toy, section='most = "many"')


def test_a_clock_stands_still_until_it_is_moved(fake_clock: FakeClock) -> None:
    before = fake_clock.now()
    fake_clock.advance(2.5)

    assert fake_clock.now() == before + 2.5


async def streamed(running: Gateway) -> tuple[int, bytes]:
    asked = {"model": "m", "text": "hi you"}
    target = f"{running.url}/v1/echo/stream"
    async with (
        ClientSession() as client,
        client.post(target, json=asked, headers=running.headers) as reply,
    ):
        return reply.status, await reply.read()


async def test_what_came_in_one_piece_with_an_error_is_relayed_before_it(
    gateway: Starts, fake_backend: FakeBackend, toy: ModuleType
) -> None:
    pieces = [b'{"said":"hi"}', b'{"said":"you"}\n\ndata: {"bitten":1}']
    fake_backend.answer("/say", Scripted(reply=pieces, pause_s=0.05))
    status, said = await streamed(await gateway("toy", module=toy, family="parrot"))

    assert status == 200
    assert [said.count(word) for word in (b'"hi"', b'"you"', b"upstream_error")] == [1, 1, 1]


async def test_an_error_in_the_first_piece_is_told_by_the_status(
    gateway: Starts, fake_backend: FakeBackend, toy: ModuleType
) -> None:
    pieces = [b'{"said":"hi"}\n\ndata: {"bitten":1}']
    fake_backend.answer("/say", Scripted(reply=pieces))
    status, said = await streamed(await gateway("toy", module=toy, family="parrot"))

    assert status == 502
    assert b'"hi"' not in said
