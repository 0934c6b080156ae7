"""One decoder process as the gateway holds it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from modgate.api.body import File
from modgate.api.json import Json, JsonObject
from modgate.decoders.protocol import FILES_AT_MOST, HEAD, file_token
from modgate.spool import Scope

PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
READ_BYTES = 1 << 20
SLACK_BYTES = 4096  # what a message may hold besides the answer


class Ended(Exception):
    """The process is gone: out of memory or time, or a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """What one process may use."""

    memory_bytes: int = 2 << 30
    cpu_s: float = 20.0
    wall_s: float = 60.0
    answer_bytes: int = 1 << 20
    written_bytes: int = 4 << 30
    jobs: int = 200


class Process:
    """A child and the socket to it; one job at a time."""

    def __init__(
        self, child: asyncio.subprocess.Process, sock: socket.socket, at_most: int
    ) -> None:
        self._child = child
        self._at_most = at_most
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self.jobs = 0

    @staticmethod
    async def start(limits: DecoderLimits) -> Process:
        """A new child; it is ready as soon as it reads."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing is imported from the folder that the gateway happens to run in
                "-m",
                "modgate.decoders.child",
                str(theirs.fileno()),
                str(limits.memory_bytes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**env, **ONE_THREAD},
                start_new_session=True,  # a terminal's Ctrl-C is for the gateway, which drains
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Process(child, ours, limits.answer_bytes + SLACK_BYTES)

    async def send(self, value: JsonObject, args: Sequence[object] = ()) -> None:
        """A message; files among the arguments go as descriptors.  Ended when the child is gone."""
        fds: list[int] = []
        if args:
            value = {**value, "args": [_sent(each, fds) for each in args]}
        data = msgspec.msgpack.encode(value)
        try:
            await self._send_head(HEAD.pack(len(data), len(fds)), fds)
            await self._loop.sock_sendall(self._sock, data)
        except OSError:
            raise Ended from None

    async def _send_head(self, head: bytes, fds: list[int]) -> None:
        while True:
            try:
                sent = socket.send_fds(self._sock, [head], fds)
            except BlockingIOError:
                await self._turn(self._loop.add_writer, self._loop.remove_writer)
            else:
                await self._loop.sock_sendall(self._sock, head[sent:])
                return

    async def _turn(self, add: object, remove: object) -> None:
        """Wait until the socket is ready."""
        ready = self._loop.create_future()
        assert callable(add)
        assert callable(remove)
        add(self._sock, _done, ready)
        try:
            await ready
        finally:
            remove(self._sock)

    async def receive(self, scope: Scope) -> JsonObject:
        """The next message; its files belong to the scope.  Ended when the child is gone."""
        head, fds = await self._receive_head()
        try:
            length, _ = HEAD.unpack(head)
            if length > self._at_most:
                raise Ended
            data = await self._exactly(length)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        files = _adopted(fds, scope)
        decoder = msgspec.msgpack.Decoder(ext_hook=lambda kind, index: files[index[0]])
        try:
            value: JsonObject = decoder.decode(data)
        except (msgspec.DecodeError, IndexError):
            raise Ended from None
        return value

    async def _receive_head(self) -> tuple[bytes, list[int]]:
        head, fds = b"", []
        while len(head) < HEAD.size:
            try:
                piece, more, _, _ = socket.recv_fds(
                    self._sock, HEAD.size - len(head), FILES_AT_MOST, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await self._turn(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError:
                raise Ended from None
            fds += more
            if not piece:
                raise Ended
            head += piece
        return head, fds

    async def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                piece = await self._loop.sock_recv(self._sock, min(READ_BYTES, length - len(data)))
            except OSError:
                raise Ended from None
            if not piece:
                raise Ended
            data += piece
        return bytes(data)

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._child.returncode is None

    async def kill(self) -> None:
        """End the child, whatever it does."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
        await self._child.wait()
        await asyncio.sleep(0)  # who waits in `receive` sees the end before the socket is gone
        self._sock.close()


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _sent(value: object, fds: list[int]) -> Json:
    if isinstance(value, File):
        fds.append(value.fd)
        return file_token(len(fds) - 1)
    return value


def _adopted(fds: list[int], scope: Scope) -> list[File]:
    files: list[File] = []
    try:
        for fd in fds:
            files.append(scope.adopt(fd))  # those that were adopted must be known
    except BaseException:
        for fd in fds[len(files) + 1 :]:
            os.close(fd)
        raise
    return files
