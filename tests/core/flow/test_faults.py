"""What ends us is told from what a plugin raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NoReturn

import pytest

from modgate.faults import raised


def leaves() -> NoReturn:
    raise GeneratorExit


def leaves_a_generator() -> None:
    def steps() -> Iterator[None]:
        yield
        raise GeneratorExit

    list(steps())


@pytest.mark.parametrize("called", [leaves, leaves_a_generator])
async def test_a_generator_exit_of_a_plugin_is_its_fault(called: Callable[[], None]) -> None:
    with pytest.raises(RuntimeError):
        await told(called)


async def told(called: Callable[[], None]) -> None:
    try:
        called()
    except raised() as error:
        raise RuntimeError from error


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(0), lambda: asyncio.Event().wait()])
async def test_a_coroutine_that_is_closed_while_it_waits_is_closed(
    wait: Callable[[], object],
) -> None:
    caught: list[BaseException] = []

    async def waits() -> None:
        try:
            await wait()  # type: ignore[misc]  # each is a coroutine
        except raised() as error:
            caught.append(error)

    running = waits()
    running.send(None)
    running.close()

    assert caught == []


async def test_an_async_generator_that_is_closed_is_closed() -> None:
    caught: list[BaseException] = []

    async def steps() -> AsyncIterator[int]:
        try:
            yield 1
        except raised() as error:
            caught.append(error)

    walk = steps()
    await anext(walk)
    await walk.aclose()  # type: ignore[attr-defined]  # it is a generator

    assert caught == []
