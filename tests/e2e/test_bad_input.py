"""Bad input, by name: the right typed error within its deadline, nothing billed, nothing left.

Source: issue 2, "Bad input, by name".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from junk.judge import judge
from junk.leftovers import holding, settled
from junk.wire import dropped, mute_socket
from junk.world import CASES, SORTS, World

from modgate.http import connection

TIMES = 50
TOGETHER = 25
PIPELINED, WITHIN_S = 50_000, 15.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Gateways with short deadlines over an engine that does what a case says."""
    async with World(tmp_path) as running:
        await running.warm()
        yield running


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_waits_for_the_collector")
async def test_each_bad_input_gets_its_error_and_is_billed_nothing(world: World) -> None:
    played = await world.play_all(CASES)

    wrong = [text for case, client in played for text in judge(case, client)]

    assert wrong == []
    assert world.bill(played) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_bad_input_fifty_times_leaves_nothing(world: World) -> None:
    await world.play_all(SORTS)
    before = holding(world)
    wrong: list[str] = []
    for case in SORTS:
        world.engine.forget()
        played = await world.play_all([case] * TIMES, TOGETHER)
        wrong += [text for _, client in played for text in judge(case, client)]
        wrong += world.bill(played)
        if left := await settled(world, before):
            wrong += [f"{case.name}: {text}" for text in left]
            before = holding(world)  # each is told once, and waited for once

    assert wrong == []


@pytest.mark.parametrize("page", ["/openapi.json", "/health/live", "/"])
async def test_pages_that_nobody_reads_hold_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 1.0)
    async with World(tmp_path, ("shut",)) as world:
        await _ask_for_pages_and_read_none(world, page)
        before = holding(world)
        await _ask_for_pages_and_read_none(world, page)

        assert await settled(world, before) == []


async def _ask_for_pages_and_read_none(world: World, path: str) -> None:
    running, loop = world.gateways["shut"], asyncio.get_running_loop()
    page = f"GET {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {running.key}\r\n\r\n"
    with mute_socket() as sock:
        await loop.sock_connect(sock, running.app.public_address)
        async with asyncio.timeout(WITHIN_S):
            with suppress(ConnectionError):  # it is cut meanwhile, or waited for below
                await loop.sock_sendall(sock, page.encode() * PIPELINED)
                await dropped(sock)
