"""The decoder process: runs one job at a time until it is told to end, or killed.

Started as `python -m modgate.decoders.child FD MEMORY`.  It imports neither aiohttp nor pydantic,
so that it starts fast and a hostile file finds little in it.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from modgate.api.json import Json, JsonObject
from modgate.decoders.protocol import FILES_AT_MOST, HEAD, file_token

PR_SET_PDEATHSIG = 1
NICE = 5


class Channel:
    """The child's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._encoder = msgspec.msgpack.Encoder()
        self.out: list[int] = []

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
        """A message with the files written since the last one."""
        data, fds = self._encoder.encode(value), self.out
        self.out = []
        head = HEAD.pack(len(data), len(fds))
        socket.send_fds(self._sock, [head], fds)
        self._sock.sendall(data)
        for fd in fds:
            os.close(fd)

    def spool(self, directory: str) -> Callable[[bytes], msgspec.msgpack.Ext]:
        """The function by which a job writes a big result."""

        def write(data: bytes) -> msgspec.msgpack.Ext:
            fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self.out.append(fd)
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
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
    opened: list[BinaryIO] = []
    try:
        function = _function(job["function"])
        args = [_argument(each, opened) for each in job["args"]]
        more = {}
        if "spool" in inspect.signature(function).parameters:
            more["spool"] = channel.spool(job["spool"])
        if job["pieces"]:
            _pieces(channel, function(*args, **more), job)
        else:
            channel.send({"answer": function(*args, **more)})
    except Exception as error:  # noqa: BLE001  # whatever a decoder raises is the client's error
        channel.out.clear()
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
    module, _, function = name.partition(":")
    found: Callable[..., Json] = getattr(importlib.import_module(module), function)
    return found


def _argument(value: Json, opened: list[BinaryIO]) -> Json:
    if isinstance(value, _Opened):
        file = value.open()
        opened.append(file)
        return file
    return value


def _told(error: Exception) -> JsonObject:
    told = {name: getattr(error, name, None) for name in ("field", "code", "reason")}
    if told["reason"] is not None:
        return told
    return {"kind": type(error).__name__}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
