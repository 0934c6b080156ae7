"""How often engines are asked: at their pace, more often while they are busy, less while silent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from servers import free_port

from modgate.api.secret import Secret
from modgate.api.vitals import Load
from modgate.telemetry.board import Board
from modgate.telemetry.families import FAMILIES
from modgate.telemetry.rounds import Probe, Question, Rounds
from modgate.testing.clock import FakeClock
from modgate.upstream.ca_bundles import CaBundles
from modgate.upstream.scraper import Scraper

LOAD = Question(identity="e", name="e", url="http://e/metrics", read=FAMILIES["vllm"], every_s=2.0)
PAUSE = asyncio.sleep
PROBE = Question(identity="e", name="e", url="http://e/health", read=Probe(), every_s=5.0)


class Answers:
    """An engine of this status, over no network; its pages, one after the other."""

    def __init__(self, status: int, pages: Sequence[bytes] = (b"",)) -> None:
        self.status = status
        self.pages = pages
        self.asked = 0

    async def get(
        self, url: str, *, key: Secret | None, ca: str, within_s: float
    ) -> tuple[int, bytes]:
        self.asked += 1
        return self.status, self.pages[min(self.asked, len(self.pages)) - 1]


async def waits(
    monkeypatch: pytest.MonkeyPatch, question: Question, *, busy: bool = False, status: int = 200
) -> Sequence[float]:
    """How long is waited before each of the first six times."""
    found: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        if len(found) == 6:
            done.set()
        await PAUSE(0 if len(found) < 6 else 60)

    monkeypatch.setattr("modgate.telemetry.rounds.asyncio.sleep", sleep)
    rounds = Rounds(
        Answers(status), Board(), FakeClock(), rng=lambda: 0.5, busy=lambda identity: busy
    )
    rounds.use([question])
    async with asyncio.timeout(5):
        await done.wait()
    await rounds.close()
    return found


async def test_an_engine_is_asked_at_its_pace_and_four_times_as_often_while_it_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await waits(monkeypatch, LOAD) == [2.0] * 6
    assert await waits(monkeypatch, LOAD, busy=True) == [0.5] * 6
    assert await waits(monkeypatch, PROBE, busy=True) == [5.0] * 6


async def test_one_that_says_nothing_is_asked_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await waits(monkeypatch, LOAD, busy=True, status=404) == [0.5, 2.0, 2.0, 4.0, 8.0, 16.0]


async def test_a_page_that_says_nothing_of_what_is_wanted_is_no_telemetry(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Compressed unasked, of another program, or all NaN: nothing is known, and the log says so."""
    good = b"vllm:num_requests_waiting 3\n"
    nothing = (b"\x1f\x8b\x08junk", b"vllm:num_requests_waiting NaN\n", b"other 1\n")
    answers = Answers(200, [nothing[0], good, *nothing[1:]])
    board, clock = Board(), FakeClock()
    monkeypatch.setattr("modgate.telemetry.rounds.asyncio.sleep", lambda seconds: PAUSE(0))
    rounds = Rounds(answers, board, clock)
    rounds.use([LOAD])
    caplog.set_level("INFO", "modgate.telemetry.rounds")
    async with asyncio.timeout(5):
        while answers.asked < 6:
            await PAUSE(0)
    await rounds.close()
    assert [each.message for each in caplog.records] == [
        "no telemetry",
        "telemetry is back",
        "no telemetry",
    ]
    assert caplog.records[0].__dict__["reason"] == "nothing known"
    assert board.vitals("e", clock.now()).load == Load(waiting=3)  # fades by its age


async def test_an_engine_that_was_not_reached_is_told_with_what_the_system_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{free_port()}/health"
    monkeypatch.setattr("modgate.telemetry.rounds.asyncio.sleep", lambda seconds: PAUSE(0.01))
    scraper = Scraper(CaBundles())
    rounds = Rounds(scraper, Board(), FakeClock())
    rounds.use([replace(PROBE, url=url)])
    async with asyncio.timeout(20):
        while not caplog.records:
            await PAUSE(0.01)
    await rounds.close()
    await scraper.close()

    assert caplog.records[0].message == "engine is not well"
    assert caplog.records[0].__dict__["reason"] == "connection refused"


async def test_what_breaks_in_asking_ends_no_question(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that our own code cannot bear: an engine would never be asked again."""

    class Breaks(Answers):
        async def get(
            self, url: str, *, key: Secret | None, ca: str, within_s: float
        ) -> tuple[int, bytes]:
            answer = await super().get(url, key=key, ca=ca, within_s=within_s)
            if self.asked == 1:
                raise ZeroDivisionError
            return answer

    answers, board, clock = Breaks(200, [b"vllm:num_requests_waiting 3\n"]), Board(), FakeClock()
    monkeypatch.setattr("modgate.telemetry.rounds.asyncio.sleep", lambda seconds: PAUSE(0))
    rounds = Rounds(answers, board, clock)
    rounds.use([LOAD])
    caplog.set_level("INFO", "modgate.telemetry.rounds")
    async with asyncio.timeout(5):
        while answers.asked < 3:
            await PAUSE(0)
    await rounds.close()

    told = [each.message for each in caplog.records]
    assert told == ["telemetry broke", "no telemetry", "telemetry is back"]
    assert board.vitals("e", clock.now()).load == Load(waiting=3)
