"""`Work`: what comes back from a decoder process, and what a hostile job cannot do."""

from __future__ import annotations

import asyncio
import io
import os
import resource
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import decoder_jobs as jobs
import pytest
from heavy_plugin import decode as heavy
from PIL import Image

from modgate.api.body import File
from modgate.api.need import Work
from modgate.decoders.pool import Decoders
from modgate.errors import Overloaded, PluginFault, Refused
from modgate.spool import Scope, Spool

Make = Callable[..., Decoders]
UNDECODABLE = "undecodable"


@pytest.fixture
def scope(spool: Spool) -> Iterator[Scope]:
    scope = spool.scope()
    yield scope
    scope.close()


async def run(
    decoders: Decoders,
    scope: Scope,
    function: Callable[..., object],
    *args: object,
    timeout_s: float = 30.0,
) -> object:
    return await decoders.run(Work(function, *args, field="file"), scope, timeout_s=timeout_s)


async def refusal(
    decoders: Decoders, scope: Scope, function: Callable[..., object], *args: object
) -> tuple[str | None, str, str]:
    with pytest.raises(Refused) as caught:
        await run(decoders, scope, function, *args)
    return caught.value.field, caught.value.code, caught.value.message


def written(scope: Scope, data: bytes) -> File:
    writer = scope.writer()
    writer.write(data)
    return writer.done()


async def test_plain_values_make_the_round_trip(make: Make, scope: Scope) -> None:
    values = [None, True, 1 << 63, -1.5, "grüße", b"\x00\xff", [1, [2]], {"a": {"b": [None]}}]

    assert await run(make(), scope, jobs.echo, *values) == values


async def test_a_file_arrives_open_with_an_offset_of_its_own(make: Make, scope: Scope) -> None:
    decoders = make()
    file = written(scope, b"0123456789")
    os.lseek(file.fd, 4, os.SEEK_SET)

    first = await run(decoders, scope, jobs.first, file, 3)
    again = await run(decoders, scope, jobs.first, file, 3)

    assert (first, again) == (b"012", b"012")
    assert os.lseek(file.fd, 0, os.SEEK_CUR) == 4


async def test_a_token_arrives_as_a_file_of_the_scope(
    make: Make, scope: Scope, spool: Spool
) -> None:
    answer = await run(make(), scope, jobs.upper, written(scope, b"abc"))

    assert (answer["file"].read(), answer["size"]) == (b"ABC", 3)
    assert (spool.used, spool.files) == (6, 2)
    scope.close()
    assert (spool.used, spool.files) == (0, 0)


async def test_a_refusal_comes_out_in_its_own_words(make: Make, scope: Scope) -> None:
    decoders = make()

    assert await refusal(decoders, scope, jobs.refuse, "audio") == (
        "audio",
        "invalid_audio",
        "the audio is silent",
    )
    assert (await refusal(decoders, scope, jobs.refuse))[0] == "file"


@pytest.mark.parametrize("job", [jobs.fail, jobs.bad_text, jobs.recurse, jobs.leave])
async def test_any_other_exception_is_undecodable_and_says_nothing_of_the_content(
    job: Callable[..., object], make: Make, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    field, code, message = await refusal(make(), scope, job)

    assert (field, code, message) == ("file", UNDECODABLE, "the input could not be read")
    assert "secret" not in message + caplog.text
    ours = [record for record in caplog.records if record.name.startswith("modgate.")]
    assert [record.levelname for record in ours] == ["WARNING"]


@pytest.mark.parametrize("job", [jobs.crash, jobs.segfault])
async def test_a_crash_is_undecodable_and_the_next_job_has_a_process(
    job: Callable[..., object], make: Make, scope: Scope
) -> None:
    decoders = make()

    assert (await refusal(decoders, scope, job))[1] == UNDECODABLE
    assert await run(decoders, scope, jobs.echo, 1) == [1]
    assert decoders.counters.kills == 1


async def test_a_job_that_takes_all_memory_takes_only_its_own(make: Make, scope: Scope) -> None:
    decoders = make(memory_bytes=400 << 20)

    assert (await refusal(decoders, scope, jobs.gobble))[1] == UNDECODABLE
    assert await run(decoders, scope, jobs.echo, 1) == [1]


@pytest.mark.slow
async def test_a_job_that_spins_is_ended_by_its_processor_time(make: Make, scope: Scope) -> None:
    decoders = make(cpu_s=0.3, wall_s=20.0)
    await run(decoders, scope, jobs.echo)

    assert (await refusal(decoders, scope, jobs.spin))[1] == UNDECODABLE
    assert decoders.counters.kills == 1


@pytest.mark.slow
async def test_processor_time_is_given_anew_to_each_job(make: Make, scope: Scope) -> None:
    decoders = make(cpu_s=0.4)  # a kernel that counts whole seconds ends it after one

    assert await run(decoders, scope, jobs.pid) == await run(decoders, scope, jobs.pid)
    for _ in range(5):
        await run(decoders, scope, jobs.burn, 0.3)

    assert decoders.counters.kills == 0


async def test_a_job_that_sleeps_is_ended_by_the_clock_on_the_wall(
    make: Make, scope: Scope
) -> None:
    decoders = make(wall_s=2.0)  # a process starts within it, also on a busy machine
    await run(decoders, scope, jobs.echo, timeout_s=30)

    assert (await refusal(decoders, scope, jobs.nap, 60))[1] == UNDECODABLE


async def test_a_job_ends_with_the_requests_own_time(make: Make, scope: Scope) -> None:
    decoders = make()

    with pytest.raises(Refused) as caught:
        await run(decoders, scope, jobs.nap, 60, timeout_s=0.4)

    assert caught.value.code == UNDECODABLE


async def test_without_a_free_process_in_time_it_is_overloaded(make: Make, scope: Scope) -> None:
    decoders = make()
    long = asyncio.create_task(run(decoders, scope, jobs.nap, 1))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await run(decoders, scope, jobs.echo, timeout_s=0.05)

    assert await long == 1


async def test_leaving_kills_the_job_and_frees_its_place(
    make: Make, scope: Scope, pids: Callable[[], set[str]]
) -> None:
    decoders = make()
    old = str(await run(decoders, scope, jobs.pid))
    task = asyncio.create_task(run(decoders, scope, jobs.nap, 60))
    await asyncio.sleep(0.05)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert old not in pids()
    assert await run(decoders, scope, jobs.pid) != int(old)


async def test_jobs_run_side_by_side_as_far_as_there_are_processes(
    make: Make, scope: Scope
) -> None:
    decoders = make(processes=3)

    answers = await asyncio.gather(*(run(decoders, scope, jobs.slow_pid) for _ in range(9)))

    assert len(set(answers)) == 3


async def test_a_process_is_kept_for_two_hundred_jobs_and_then_replaced(
    make: Make, scope: Scope
) -> None:
    decoders = make()

    served = [await run(decoders, scope, jobs.pid) for _ in range(300)]

    assert [served.count(pid) for pid in dict.fromkeys(served)] == [200, 100]
    assert decoders.counters.jobs == 300


async def test_an_answer_may_have_one_mebibyte(make: Make, scope: Scope) -> None:
    decoders = make()

    assert len(await run(decoders, scope, jobs.large, (1 << 20) - 100)) == (1 << 20) - 100
    with pytest.raises(PluginFault, match=r"jobs:large: an answer of 1048\d+ bytes, of 1048576 at"):
        await run(decoders, scope, jobs.large, 1 << 20)


def nowhere() -> None:
    """Where a decoder process looks for it, there is no such function."""


nowhere.__module__ = "heavy_plugin"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (jobs.odd, "decoder_jobs:odd: an answer that is no plain value: .* type object"),
        (jobs.needs_more, "decoder_jobs:needs_more: No module named 'no_such_module'"),
        (nowhere, "heavy_plugin has no 'nowhere'; the __init__ of a package is not run"),
    ],
)
async def test_what_only_the_plugin_can_mend_is_not_the_clients_fault(
    job: Callable[..., object], said: str, make: Make, scope: Scope
) -> None:
    with pytest.raises(PluginFault, match=said):
        await run(make(), scope, job)


async def test_where_a_function_raised_is_in_the_log(
    make: Make, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    await refusal(make(), scope, jobs.fail)

    [told] = [vars(record) for record in caplog.records if record.name.startswith("modgate.")]
    assert (told["function"], told["raised"]) == ("decoder_jobs:fail", "KeyError")
    assert told["at"] == f"decoder_jobs.py:{jobs.fail.__code__.co_firstlineno + 1}"


@pytest.mark.parametrize("function", [lambda: 1, SimpleNamespace(a=1).__init__, Scope.close])
async def test_a_function_must_be_at_the_top_of_a_module(
    function: Callable[..., object], make: Make, scope: Scope
) -> None:
    with pytest.raises(PluginFault, match="top of a module"):
        await run(make(), scope, function)


async def test_a_job_cannot_write_more_than_its_bound(
    make: Make, scope: Scope, spool: Spool
) -> None:
    decoders = make(written_bytes=1 << 20)

    assert len(await run(decoders, scope, jobs.write, 1 << 19, 2)) == 2
    assert (await refusal(decoders, scope, jobs.write, 1 << 19, 3))[1] == UNDECODABLE
    assert spool.used == 1 << 20


async def test_what_a_failed_job_wrote_is_gone(make: Make, scope: Scope, spool: Spool) -> None:
    decoders = make()
    before = await run(decoders, scope, jobs.open_files)

    await refusal(decoders, scope, jobs.written_then_refused, 1 << 20)

    assert await run(decoders, scope, jobs.open_files) == before
    assert (spool.used, spool.files) == (0, 0)


async def test_a_disk_that_takes_no_more_is_no_fault_of_the_file(
    make: Make, scope: Scope, spool: Spool, pids: Callable[[], set[str]]
) -> None:
    decoders, before = make(), pids()
    await run(decoders, scope, jobs.open_files)
    [child] = pids() - before
    resource.prlimit(int(child), resource.RLIMIT_FSIZE, (1000, 1000))

    with pytest.raises(Overloaded, match="spool is full"):
        await run(decoders, scope, jobs.write, 1 << 19, 1)
    assert (spool.used, spool.files) == (0, 0)


async def test_a_file_that_the_spool_cannot_hold_is_overloaded_and_gone(
    make: Make, spool: Spool
) -> None:
    decoders = make()
    scope = spool.scope()

    with pytest.raises(Overloaded):
        await run(decoders, scope, jobs.write, 33 << 20, 2)

    scope.close()
    assert (spool.used, spool.files) == (0, 0)


async def test_a_process_that_writes_nonsense_is_ended(make: Make, scope: Scope) -> None:
    decoders = make()

    assert (await refusal(decoders, scope, jobs.lie))[1] == UNDECODABLE
    assert await run(decoders, scope, jobs.echo, 1) == [1]


async def test_a_decoder_imports_nothing_of_the_gateway(make: Make, scope: Scope) -> None:
    decoders = make()

    assert not {"aiohttp", "pluggy", "pydantic"} & set(await run(decoders, scope, jobs.modules))


async def test_the_package_around_a_decode_module_is_not_run(make: Make, scope: Scope) -> None:
    assert await run(make(), scope, heavy.loaded) == [7]


async def test_a_module_that_needs_its_package_gets_it(make: Make, scope: Scope) -> None:
    from heavy_plugin import leaning

    assert await run(make(), scope, leaning.heavy) == ["pluggy", "pydantic"]


async def test_no_secret_of_the_environment_and_no_folder_of_the_moment_goes_along(
    make: Make, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODGATE_SECRET", "sk-123")
    decoders = make()

    found = await run(decoders, scope, jobs.environment)
    path = await run(decoders, scope, jobs.search_path)

    assert "sk-123" not in found.values()
    assert found["OMP_NUM_THREADS"] == "1"
    assert os.getcwd() not in path
    assert "" not in path


async def test_a_terminals_interrupt_and_a_supervisors_term_are_the_gateways(
    make: Make, scope: Scope
) -> None:
    assert await run(make(), scope, jobs.ignored_signals) == [True, True, True, True]


async def test_closing_ends_a_job_under_way(make: Make, scope: Scope) -> None:
    decoders = make()
    task = asyncio.create_task(run(decoders, scope, jobs.nap, 60))
    await asyncio.sleep(0.3)

    await decoders.close()

    with pytest.raises((Refused, Overloaded)):
        await asyncio.wait_for(task, 5)


async def test_the_libraries_that_plugins_use_fit_into_a_gibibyte(make: Make, scope: Scope) -> None:
    decoders = make()
    picture = io.BytesIO()
    Image.new("RGB", (1000, 700), "navy").save(picture, "JPEG")
    pages = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(pages, "PDF")
    pcm = bytes(16_000 * 2)
    form = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    wav = b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVEfmt " + form
    wav += b"data" + struct.pack("<I", len(pcm)) + pcm

    assert await run(decoders, scope, jobs.arithmetic) == 1.0
    assert await run(decoders, scope, jobs.sound, written(scope, wav)) == [16_000, 16_000]
    small = await run(decoders, scope, jobs.picture, written(scope, picture.getvalue()))
    assert small["size"] == [1000, 700]
    assert (await run(decoders, scope, jobs.document, written(scope, pages.getvalue())))[0] == 1
    assert await run(decoders, scope, jobs.tokens, "hello world") == 2
    assert decoders.counters.kills == 0
