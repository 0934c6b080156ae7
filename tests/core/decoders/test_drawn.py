"""`Drawn`: pieces as they are decoded, held back by the calls, and ended with the request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import decoder_jobs as jobs
import pytest

from modgate.api.body import File
from modgate.api.need import Work
from modgate.api.plan import Call, Drawn
from modgate.decoders import pool
from modgate.decoders.pool import Decoders, Pieces
from modgate.decoders.process import DecoderLimits, Process
from modgate.errors import PluginFault, Refused
from modgate.spool import Scope, Spool

Make = Callable[..., Decoders]


@pytest.fixture
def scope(spool: Spool) -> Iterator[Scope]:
    scope = spool.scope()
    yield scope
    scope.close()


def no_call(index: int, piece: object) -> Call:
    raise AssertionError("the run's part")


def drawn(function: Callable[..., object], *args: object) -> Drawn:
    return Drawn(function, args, no_call, field="upload")


async def rest(pieces: Pieces, *, ending: bool = True) -> list[object]:
    """All pieces to the end; `ending`: every call ends as soon as its piece is drawn."""
    found: list[object] = []
    while True:
        try:
            found.append(await asyncio.wait_for(pieces.next(), 20))
        except StopAsyncIteration:
            return found
        if ending:
            pieces.ended(len(found))


async def settled(path: Path) -> int:
    """How many pieces were begun, once no more are."""
    count, before = 0, -1
    while count != before or count == 0:
        await asyncio.sleep(0.15)
        before, count = count, lines(path)
    return count


def lines(path: Path) -> int:
    return len(path.read_text().split()) if path.exists() else 0


async def test_pieces_come_in_order_each_with_a_file_of_its_own(
    make: Make, scope: Scope, spool: Spool
) -> None:
    pieces = make().draw(drawn(jobs.pieces, 12, 1000), scope, ahead=4)

    found = await rest(pieces)
    await pieces.close()

    assert [piece["n"] for piece in found] == list(range(12))
    files = [piece["file"] for piece in found]
    assert all(isinstance(file, File) for file in files)
    assert [file.read() for file in files] == [bytes([n]) * 1000 for n in range(12)]
    assert (spool.used, spool.files) == (12_000, 12)


async def test_the_process_is_free_though_nobody_asks_what_comes_after_the_last_piece(
    make: Make, scope: Scope
) -> None:
    """A plan of width 1 asks when its call has ended, and its engine may take long."""
    decoders = make(streams=1)
    one, other = (decoders.draw(drawn(jobs.pieces, 1, 10), scope, ahead=2) for _ in range(2))
    await one.next()

    assert [piece["n"] for piece in await rest(other)] == [0]
    assert await rest(one) == []
    for pieces in (one, other):
        await pieces.close()


async def test_the_process_is_free_once_the_last_piece_came(make: Make, scope: Scope) -> None:
    """The calls of a stream may run for long after it was decoded."""
    decoders = make(streams=1)
    first = decoders.draw(drawn(jobs.pieces, 2, 10), scope, ahead=4)
    await rest(first, ending=False)
    second = decoders.draw(drawn(jobs.pieces, 2, 10), scope, ahead=4)

    assert len(await asyncio.wait_for(rest(second), 5)) == 2
    await first.close()
    await second.close()


async def test_a_stream_that_ends_gives_its_process_back(make: Make, scope: Scope) -> None:
    decoders = make()
    for _ in range(3):
        pieces = decoders.draw(drawn(jobs.pieces, 3, 10), scope, ahead=2)
        assert len(await rest(pieces)) == 3
        pieces.ended(3)
        await pieces.close()
        with pytest.raises(StopAsyncIteration):
            await pieces.next()

    assert decoders.counters.kills == 0


@pytest.mark.parametrize("ahead", [1, 2, 6])
async def test_it_stops_so_many_pieces_ahead_of_the_last_call_that_ended(
    ahead: int, make: Make, scope: Scope, tmp_path: Path
) -> None:
    path = tmp_path / "begun"
    pieces = make().draw(drawn(jobs.numbered, 100, str(path)), scope, ahead=ahead)
    await pieces.next()

    assert await settled(path) == ahead
    for _ in range(ahead - 1):
        await pieces.next()
    pieces.ended(ahead)
    await pieces.next()
    assert await settled(path) == 2 * ahead
    await pieces.close()


async def test_a_refusal_before_the_first_piece_is_the_streams(make: Make, scope: Scope) -> None:
    decoders = make()
    pieces = decoders.draw(drawn(jobs.refused_pieces), scope, ahead=2)

    with pytest.raises(Refused) as caught:
        await pieces.next()
    await pieces.close()

    assert (caught.value.field, caught.value.code) == ("upload", "invalid_audio")
    assert decoders.counters.kills == 0


@pytest.mark.parametrize(
    ("ending", "field", "code"),
    [
        ("refuse", "upload", "invalid_audio"),
        ("fail", "upload", "undecodable"),
        ("crash", "upload", "undecodable"),
    ],
)
async def test_what_goes_wrong_later_comes_after_the_pieces_before_it(
    ending: str, field: str, code: str, make: Make, scope: Scope
) -> None:
    decoders = make()
    pieces = decoders.draw(drawn(jobs.pieces_then, ending), scope, ahead=4)

    assert await pieces.next() == 0
    with pytest.raises(Refused) as caught:
        await pieces.next()
    await pieces.close()

    assert (caught.value.field, caught.value.code) == (field, code)
    assert await rest(decoders.draw(drawn(jobs.pieces, 1, 1), scope, ahead=2)) != []


@pytest.mark.slow
async def test_processor_time_is_counted_for_each_piece_and_not_for_the_stream(
    make: Make, scope: Scope
) -> None:
    decoders = make(cpu_s=0.9, wall_s=0.5)

    found = await rest(decoders.draw(drawn(jobs.slow_pieces, 4, 0.6), scope, ahead=2))

    assert found == [0, 1, 2, 3]


@pytest.mark.slow
async def test_a_piece_that_spins_ends_the_stream(make: Make, scope: Scope) -> None:
    decoders = make(cpu_s=0.3)
    pieces = decoders.draw(drawn(jobs.pieces_then, "spin"), scope, ahead=4)
    assert await pieces.next() == 0

    with pytest.raises(Refused):
        await asyncio.wait_for(pieces.next(), 20)
    await pieces.close()

    assert decoders.counters.kills == 1


async def test_a_stream_cannot_write_more_than_its_bound(make: Make, scope: Scope) -> None:
    pieces = make(written_bytes=10_000).draw(drawn(jobs.pieces, 100, 3000), scope, ahead=50)

    for _ in range(3):
        await pieces.next()
    with pytest.raises(Refused) as caught:
        await pieces.next()
    await pieces.close()

    assert caught.value.code == "undecodable"


async def test_a_descriptor_is_as_small_as_an_answer(make: Make, scope: Scope) -> None:
    pieces = make(answer_bytes=1000).draw(drawn(jobs.large_pieces, 2000), scope, ahead=2)

    with pytest.raises(PluginFault):
        await pieces.next()
    await pieces.close()


async def test_closing_kills_a_process_that_still_decodes(
    make: Make, scope: Scope, pids: Callable[[], set[str]], spool: Spool
) -> None:
    decoders = make()
    before = pids()
    pieces = decoders.draw(drawn(jobs.pieces, 1000, 1000), scope, ahead=2)
    await pieces.next()
    assert len(pids() - before) == 1

    await pieces.close()
    await pieces.close()

    assert pids() == before
    assert decoders.counters.kills == 1
    scope.close()
    assert (spool.used, spool.files) == (0, 0)


async def test_leaving_while_a_piece_is_awaited_leaves_nothing(
    make: Make, scope: Scope, pids: Callable[[], set[str]]
) -> None:
    before = pids()
    pieces = make().draw(drawn(jobs.napping_pieces, 60), scope, ahead=2)
    task = asyncio.create_task(pieces.next())
    await asyncio.sleep(0.3)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await pieces.close()

    assert pids() == before


async def test_streams_do_not_take_the_processes_of_single_jobs(make: Make, scope: Scope) -> None:
    decoders = make()
    pieces = decoders.draw(drawn(jobs.pieces, 1000, 1), scope, ahead=1)
    await pieces.next()

    answer = await decoders.run(Work(jobs.pid), scope, timeout_s=10)

    assert answer != os.getpid()
    await pieces.close()


async def test_a_stream_that_waits_for_engines_keeps_no_decoder_from_others(
    make: Make, scope: Scope
) -> None:
    """A long file before a slow pool would keep every short one from it for as long as it takes."""
    decoders = make(streams=1)
    first = decoders.draw(drawn(jobs.pieces, 1000, 1), scope, ahead=1)
    second = decoders.draw(drawn(jobs.pieces, 2, 1), scope, ahead=2)
    await first.next()

    assert len(await asyncio.wait_for(rest(second), 10)) == 2
    first.ended(1)
    assert (await asyncio.wait_for(first.next(), 10))["n"] == 1
    await first.close()
    await second.close()


async def test_a_stream_waits_while_another_decodes(make: Make, scope: Scope) -> None:
    decoders = make(streams=1)
    first = decoders.draw(drawn(jobs.napping_pieces, 60), scope, ahead=2)
    second = decoders.draw(drawn(jobs.pieces, 2, 1), scope, ahead=2)
    decoding = asyncio.create_task(first.next())
    await asyncio.sleep(0.3)
    waiting = asyncio.create_task(rest(second))
    await asyncio.sleep(1.5)
    assert not waiting.done()

    await first.close()

    assert len(await asyncio.wait_for(waiting, 10)) == 2
    decoding.cancel()
    await second.close()


async def test_short_streams_use_one_process_after_the_other(
    make: Make, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one takes longer to start than a short file to decode."""
    started = []
    start = Process.start

    async def counted(limits: DecoderLimits) -> Process:
        started.append(limits)
        return await start(limits)

    monkeypatch.setattr(Process, "start", counted)
    decoders = make(streams=1)
    made = [decoders.draw(drawn(jobs.pieces, 2, 1), scope, ahead=4) for _ in range(6)]
    assert [len(each) for each in await asyncio.gather(*(rest(each) for each in made))] == [2] * 6
    for each in made:
        await each.close()

    assert len(started) == 1


async def test_so_many_streams_have_a_process_and_no_more(
    make: Make, scope: Scope, pids: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "HELD", 2)
    decoders, before = make(streams=1), pids()
    made = [decoders.draw(drawn(jobs.pieces, 1000, 1), scope, ahead=1) for _ in range(3)]
    for each in made[:2]:
        await each.next()
    waiting = asyncio.create_task(made[2].next())
    await asyncio.sleep(1)
    assert not waiting.done()
    assert len(pids() - before) == 2

    await made[0].close()

    assert (await asyncio.wait_for(waiting, 10))["n"] == 0
    for each in made:
        await each.close()
    assert pids() == before


async def test_credit_that_comes_after_the_end_harms_no_later_stream(
    make: Make, scope: Scope
) -> None:
    decoders = make()
    for _ in range(2):
        pieces = decoders.draw(drawn(jobs.pieces, 4, 1), scope, ahead=8)
        found = await rest(pieces, ending=False)
        pieces.ended(4)
        await pieces.close()
        assert len(found) == 4


async def test_closing_everything_ends_a_stream_that_waits(make: Make, scope: Scope) -> None:
    decoders = make()
    pieces = decoders.draw(drawn(jobs.napping_pieces, 60), scope, ahead=2)
    task = asyncio.create_task(pieces.next())
    await asyncio.sleep(0.3)

    await decoders.close()

    with pytest.raises(Refused):
        await asyncio.wait_for(task, 5)
    await pieces.close()
