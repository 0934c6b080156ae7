"""The decoder process: runs one job at a time until it is told to end, or killed.

Started as `python -m modgate.decoders.child FD MEMORY`.  It imports neither aiohttp nor pydantic,
so that it starts fast and a hostile file finds little in it.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import inspect
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec
from typing import BinaryIO

import msgspec

from modgate.api.json import Json, JsonObject
from modgate.decoders.protocol import FILES_AT_MOST, HEAD, file_token, refusal_in

PR_SET_PDEATHSIG = 1
NICE = 5


class BadAnswer(Exception):
    """The function answered what is not plain, or too large: the plugin's fault."""


class NoRoom(Exception):
    """The spool took nothing of what the function writes: nobody's fault but the disk's."""


class Channel:
    """The child's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._encoder = msgspec.msgpack.Encoder()
        self.out: list[int] = []
        self.answer_bytes = 0

    def receive(self) -> tuple[JsonObject, list[int]]:
        """A message and its descriptors; EOFError when the gateway is gone."""
        head, fds, _, _ = socket.recv_fds(self._sock, HEAD.size, FILES_AT_MOST)
        if not head:
            raise EOFError
        head += self._exactly(HEAD.size - len(head))
        length, _ = HEAD.unpack(head)
        decoder = msgspec.msgpack.Decoder(ext_hook=lambda kind, data: _Opened(fds[data[0]]))
        value: JsonObject = decoder.decode(self._exactly(length))
        return value, fds

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self._sock.recv(min(1 << 20, length - len(data)))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def send(self, value: JsonObject) -> None:
        """A message with the files written since the last one; BadAnswer, and nothing is sent."""
        try:
            data, fds = self._encoder.encode(value), self.out
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadAnswer(f"an answer that is no plain value: {error}") from error
        if len(data) > self.answer_bytes:
            raise BadAnswer(f"an answer of {len(data)} bytes, of {self.answer_bytes} at most")
        self.out = []
        head = HEAD.pack(len(data), len(fds))
        socket.send_fds(self._sock, [head], fds)
        self._sock.sendall(data)
        for fd in fds:
            os.close(fd)

    def forget(self) -> None:
        """Close the files that were written and not sent: they would hold their disk space."""
        for fd in self.out:
            os.close(fd)
        self.out.clear()

    def spool(self, directory: str, at_most: int) -> Callable[[bytes], msgspec.msgpack.Ext]:
        """The function by which a job writes big results, `at_most` bytes in all."""
        written = 0

        def write(data: bytes) -> msgspec.msgpack.Ext:
            nonlocal written
            written += len(data)
            if written > at_most:
                raise OSError(errno.EFBIG, "more than a job may write")
            try:
                fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
                self.out.append(fd)
                left = memoryview(data)
                while left:
                    left = left[os.write(fd, left) :]
            except OSError as error:
                raise NoRoom from error
            return file_token(len(self.out) - 1)

        return write


class _Opened:
    """A file among the arguments, before it is opened."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def open(self) -> BinaryIO:
        """With an offset of its own: a descriptor's is shared with the gateway."""
        return open(f"/proc/self/fd/{self.fd}", "rb")


def main(fd: int, memory: int) -> None:
    """Serve jobs."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    for whole_group in (signal.SIGINT, signal.SIGTERM):  # the gateway drains; we end with it
        signal.signal(whole_group, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=fd))
    while True:
        try:
            job, fds = channel.receive()
        except (EOFError, ConnectionError):
            return
        if "function" in job:  # else it is credit that came after the last piece
            _job(channel, job)
        for each in fds:
            os.close(each)


def allow_cpu(seconds: float) -> None:
    """The process may use this much more processor time; then the kernel ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _job(channel: Channel, job: JsonObject) -> None:
    allow_cpu(job["cpu_s"])
    channel.answer_bytes = job["answer_bytes"]
    opened: list[BinaryIO] = []
    try:
        function = _function(job["function"])
        args = [_argument(each, opened) for each in job["args"]]
        more = {}
        if "spool" in inspect.signature(function).parameters:
            more["spool"] = channel.spool(job["spool"], job["written_bytes"])
        if job["pieces"]:
            _pieces(channel, function(*args, **more), job)
        else:
            channel.send({"answer": function(*args, **more)})
    except Exception as error:  # noqa: BLE001  # whatever a decoder raises is the client's error
        channel.forget()
        channel.send({"error": _told(error)})
    finally:
        for file in opened:
            file.close()


def _pieces(channel: Channel, pieces: Iterator[Json], job: JsonObject) -> None:
    """Send pieces while there is credit; each gets its own processor time."""
    credit = int(job["credit"])
    for piece in pieces:
        channel.send({"piece": piece})
        credit -= 1
        while credit <= 0:
            said, _ = channel.receive()
            credit += int(said["credit"])
        allow_cpu(job["cpu_s"])
    channel.send({"done": True})


def _function(name: str) -> Callable[..., Json]:
    """ImportError when there is no such function, which is never the client's fault."""
    module, _, function = name.partition(":")
    found: Callable[..., Json] | None = getattr(imported(module), function, None)
    if found is None:
        text = f"{module} has no '{function}'; the __init__ of a package is not run"
        raise ImportError(text)
    return found


def imported(module: str) -> object:
    """Import a module without running the `__init__` of the packages that it lies in.

    A plugin's `__init__` holds its hooks and config types, and brings half of the gateway with it.
    A module that does need its package gets it.
    """
    if module in sys.modules:
        return sys.modules[module]
    before = set(sys.modules)
    try:
        _bare_packages(module)
        return importlib.import_module(module)
    except (ImportError, AttributeError):
        root = module.partition(".")[0]
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == root:
                del sys.modules[name]
        return importlib.import_module(module)


def _bare_packages(module: str) -> None:
    parts = module.split(".")
    for end in range(1, len(parts)):
        package = ".".join(parts[:end])
        spec = None if package in sys.modules else find_spec(package)
        if spec is not None and spec.submodule_search_locations is not None:
            sys.modules[package] = module_from_spec(spec)


def _argument(value: Json, opened: list[BinaryIO]) -> Json:
    if isinstance(value, _Opened):
        file = value.open()
        opened.append(file)
        return file
    return value


def _told(error: Exception) -> JsonObject:
    """A refusal; else what was raised, where, and what we may say of it."""
    if (refusal := refusal_in(error)) is not None:
        return dict(zip(("field", "code", "reason"), refusal, strict=True))
    if isinstance(error, ImportError):
        return {"kind": "ImportError", "said": str(error)}
    said = str(error) if isinstance(error, BadAnswer) else ""
    return {"kind": type(error).__name__, "at": _place(error), "said": said}


def _place(error: Exception) -> str:
    """The file and the line of it that raised; what it said may be the client's own words."""
    trace = error.__traceback__
    assert trace is not None, "it was raised"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
