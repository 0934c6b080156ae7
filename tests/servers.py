"""Servers that tests start for themselves: a private process on a socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_S = 20.0
REQUIRED = "MODGATE_REQUIRE_SERVERS"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    url: str
    process: subprocess.Popen[bytes]

    def pause(self) -> None:
        """Stop it where it is: its socket stays open, and nothing is answered."""
        self._tell(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self._tell(signal.SIGCONT)

    def _tell(self, number: signal.Signals) -> None:
        """A signal to it and to the processes that it has for its clients."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, number)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(program: str, package: str, search: str | None = None) -> str:
    """A program's path; a skip with the line to install it, or a failure where it must be there."""
    path = shutil.which(program, path=search)
    if path is None:
        text = f"{program} is not installed: apt-get install {package}"
        if os.environ.get(REQUIRED):
            pytest.fail(text)
        pytest.skip(text)  # what is to be installed
    return path


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """A Postgres of one's own on a unix socket; it does not run as root, so another user does."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    search = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    initdb = found("initdb", "postgresql", search)
    server = found("postgres", "postgresql", search)
    with tempfile.TemporaryDirectory(prefix="pg-") as short:
        place = Path(short)
        user = _not_root(place)
        made = [initdb, "-D", f"{short}/data", "-U", "modgate", "-A", "trust", "--no-sync"]
        subprocess.run([*made, "-E", "UTF8"], check=True, capture_output=True, user=user, cwd=short)
        arguments = ["-D", f"{short}/data", "-k", short, "-c", "listen_addresses="]
        with (folder / "postgres.log").open("ab") as log:
            process = subprocess.Popen(
                [server, *arguments], stdout=log, stderr=log, user=user, cwd=short
            )
        url = f"postgresql://modgate@/postgres?host={short}"
        try:
            asks = [found("pg_isready", "postgresql-client", search), "-q", "-h", short]
            _until(
                process,
                lambda: subprocess.run(asks, check=False).returncode == 0,
                folder / "postgres.log",
            )
            yield Server(url, process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGQUIT)  # at once, children too
            process.wait()


def _not_root(folder: Path) -> int | None:
    """The user to start a server as; the folder becomes that user's."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam("postgres").pw_uid
    except KeyError:
        user = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, user, -1)
    return user


def _until(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Wait for a server to be ready."""
    end = time.monotonic() + READY_S
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise TimeoutError(log.read_text()[-2000:])
        time.sleep(0.02)


def _listens(path: Path) -> bool:
    """Whether somebody takes connections there; a socket's file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """A Redis of one's own, on a unix socket, that writes nothing to disk."""
    program = found("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="redis-") as short:  # a socket path holds 107 bytes
        path = Path(short) / "s"
        arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        with (folder / "redis.log").open("wb") as log:
            process = subprocess.Popen(
                [program, *arguments, "--dir", short], stdout=log, stderr=log
            )
        try:
            _until(process, lambda: _listens(path), folder / "redis.log")
            yield Server(f"unix://{path}", process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
