"""Open files are counted, and told before there is none left."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource

import pytest
from rigs.ledger import Stopped
from rigs.shortage import no_file_left

from modgate.observe.metrics import Registry
from modgate.server import open_files as module
from modgate.server.open_files import AGAIN_S, OpenFiles


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


async def test_few_left_is_told_once_a_minute_and_enough_again_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, registry = Stopped(), Registry()
    files = OpenFiles(clock, registry)
    await files.look()
    quiet, limit = events(caplog), files.at_most
    with no_file_left() as at_most:
        for clock.at in (1.0, 2.0, AGAIN_S, AGAIN_S + 1.0):
            await files.look()
        shown = registry.render().decode()
    for _ in range(2):
        await files.look()

    assert quiet == []
    assert events(caplog) == [*["open files run out"] * 2, "open files are enough again"]
    told = caplog.records[0].__dict__
    assert (told["open"], told["at_most"], "LimitNOFILE" in told["do"]) == (at_most, at_most, True)
    assert f"modgate_open_files {at_most}\n" in shown
    assert f"modgate_open_files_at_most {at_most}\n" in shown
    assert files.at_most == limit
    assert 0 < files.count < limit * 0.9


async def test_without_a_limit_nothing_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = OpenFiles(Stopped(), Registry())
    no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: no_limit)  # not to be had on Linux
    await files.look()

    assert events(caplog) == []


def test_a_thousand_connections_that_cannot_be_taken_are_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = OpenFiles(Stopped(), Registry())
    loop = asyncio.new_event_loop()
    for _ in range(1000):
        error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        files.trouble(
            loop, {"message": "socket.accept() out of system resource", "exception": error}
        )
    files.trouble(loop, {"message": "something else", "exception": ValueError("else")})
    loop.close()

    assert events(caplog) == ["open files run out", "something else"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert files.at_most == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
