"""The children of local engines: apart from the terminal, and never without their gateway."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from modgate.engines.process import EngineProcess, Report
from modgate.engines.supervisor import Engines, EngineSpec

ENGINE = """
import os, signal, socket, subprocess, time
from modgate.plugin import LocalEngine

class Idle(LocalEngine):
    def missing(self):
        return []
    def load(self, report):
        print("what an engine prints is no report of its state", flush=True)
    def serve(self, path):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            time.sleep(60)

class Deaf(Idle):
    def serve(self, path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().serve(path)

class Native(Idle):
    def serve(self, path):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        subprocess.Popen(["sleep", "60"])  # holds the error output open when this has ended
        super().serve(path)

class Forking(Idle):
    def serve(self, path):
        if os.fork() == 0:  # a worker of its own, with all that is open here
            time.sleep(60)
            os._exit(0)
        super().serve(path)
"""
GATEWAY = """
import asyncio, sys
from pathlib import Path
from modgate.engines.process import EngineProcess, Report
from modgate.engines.supervisor import Engines, EngineSpec

async def main():
    engines = Engines()
    engines.use([EngineSpec(name="e", engine="idle_engine:Idle", version="1",
                            data=Path("."), threads=1)])
    await engines.ready("e")
    print(engines.socket_of("e"), engines._children["e"]._process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
SPEC = EngineSpec(name="e", engine="idle_engine:Idle", version="1", data=Path("nowhere"), threads=1)
LOOK_S, PATIENCE_S = 0.01, 5.0
FILES = 8


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's module is where children look."""
    (tmp_path / "idle_engine.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def pid_of(engines: Engines) -> int:
    process = engines._children["e"]._process
    assert process is not None
    return process.pid


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def group_of(leader: int) -> list[int]:
    """The processes of a group that run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if os.getpgid(int(folder.name)) == leader and alive(int(folder.name)):
                found.append(int(folder.name))
    return found


async def turned(engines: Engines, state: str) -> None:
    for _ in range(int(PATIENCE_S / LOOK_S)):
        if engines.states()["e"].state == state:
            return
        await asyncio.sleep(LOOK_S)
    raise AssertionError(f"it is never {state}")


async def gone(pid: int) -> bool:
    for _ in range(int(PATIENCE_S / LOOK_S)):
        if not alive(pid):
            return True
        await asyncio.sleep(LOOK_S)
    return False


@pytest.mark.usefixtures("found")
async def test_a_terminals_signal_is_not_for_the_children() -> None:
    engines = Engines()
    engines.use([SPEC])
    await engines.ready("e")
    pid = pid_of(engines)
    groups = (os.getpgid(pid), os.getpgid(0))
    await engines.close()

    assert groups[0] == pid != groups[1]
    assert await gone(pid)


@pytest.mark.usefixtures("found")
async def test_one_that_is_stopped_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    engines = Engines()
    engines.use([replace(SPEC, engine="idle_engine:Native")])
    await engines.ready("e")
    await engines.close()

    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.usefixtures("found")
async def test_one_that_does_not_go_when_told_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modgate.engines.supervisor.STOP_S", 0.1)
    engines = Engines()
    engines.use([replace(SPEC, engine="idle_engine:Deaf")])
    await engines.ready("e")
    pid = pid_of(engines)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await engines.close()
    finally:
        killed = not alive(pid)
        if not killed:
            os.kill(pid, signal.SIGKILL)

    assert killed


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_that_is_stopped_while_it_starts_is_no_error(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ended_after(turns: int) -> bool:
        engines = Engines()
        engines.use([SPEC])
        task = engines._children["e"]._task
        for _ in range(turns):
            await asyncio.sleep(0)
        await engines.close()
        return task.cancelled()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert [runner.run(ended_after(turns)) for turns in range(12)] == [True] * 12


@pytest.mark.usefixtures("found")
async def test_what_ends_while_the_gateway_leaves_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modgate.engines.supervisor.BACKOFF_S", (0.0,))
    engines = Engines()
    engines.use([SPEC])
    await engines.ready("e")
    first = pid_of(engines)
    os.kill(first, signal.SIGKILL)
    assert await gone(first)
    for _ in range(int(PATIENCE_S / LOOK_S)):
        if pid_of(engines) != first:
            break
        await asyncio.sleep(LOOK_S)
    second = pid_of(engines)
    engines.leave()
    os.kill(second, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait([engines._children["e"]._task])
    last, state = pid_of(engines), engines.states()["e"].state
    await engines.close()

    assert first != second
    assert (last, state) == (second, "failed")


@pytest.mark.slow
@pytest.mark.usefixtures("found")
async def test_one_takes_its_workers_along_and_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modgate.engines.supervisor.BACKOFF_S", (0.0,))
    engines = Engines()
    engines.use([replace(SPEC, engine="idle_engine:Forking")])
    await engines.ready("e")
    first = pid_of(engines)
    os.kill(first, signal.SIGKILL)
    try:
        async with asyncio.timeout(4 * PATIENCE_S):
            assert await gone(first)
            await turned(engines, "starting")
            await engines.ready("e")
        second = pid_of(engines)
    finally:
        await engines.close()

    for left in [*group_of(first), *group_of(second)]:  # they were killed, and may die only now
        assert await gone(left)


async def test_what_a_machine_prints_from_every_python_is_passed_over(
    found: None, tmp_path: Path
) -> None:
    del found
    (tmp_path / "sitecustomize.py").write_text("print('welcome\\n42', flush=True)")
    engines = Engines()
    engines.use([SPEC])
    try:
        async with asyncio.timeout(4 * PATIENCE_S):
            await engines.ready("e")
    finally:
        await engines.close()


@pytest.mark.usefixtures("found")
async def test_one_that_could_not_be_started_is_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modgate.engines.supervisor.BACKOFF_S", (0.05,))
    start, failures = EngineProcess.start, [OSError(errno.EMFILE, "too many open files")]

    async def first_fails(
        command: Sequence[str], report: Report, env: Mapping[str, str]
    ) -> EngineProcess:
        if failures:
            raise failures.pop()
        return await start(command, report, env)

    monkeypatch.setattr(EngineProcess, "start", first_fails)
    engines = Engines()
    engines.use([SPEC])
    try:
        await turned(engines, "failed")
        await turned(engines, "starting")
        async with asyncio.timeout(4 * PATIENCE_S):
            await engines.ready("e")
    finally:
        await engines.close()


@pytest.mark.usefixtures("found")
async def test_a_child_dies_with_a_gateway_that_is_killed() -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, stdout=asyncio.subprocess.PIPE
    )
    assert gateway.stdout is not None
    async with asyncio.timeout(4 * PATIENCE_S):
        _, told = (await gateway.stdout.readline()).split()
    pid = int(told)
    before = alive(pid)
    gateway.kill()
    await gateway.wait()

    assert before
    assert await gone(pid)


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_engine_that_ends_takes_no_descriptor_of_others_along(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """What is opened while it ends has the numbers that it leaves, and stays open."""

    async def open_and_close() -> None:
        engines = Engines()
        engines.use([SPEC])
        await engines.ready("e")
        os.kill(pid_of(engines), signal.SIGKILL)
        files: deque[int] = deque()
        async with asyncio.timeout(PATIENCE_S):
            while engines.states()["e"].state == "ready":
                files.append(os.open(os.devnull, os.O_RDONLY))
                await asyncio.sleep(0)
                if len(files) > FILES:
                    os.close(files.popleft())
        await engines.close()
        for fd in files:
            os.close(fd)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(open_and_close())
