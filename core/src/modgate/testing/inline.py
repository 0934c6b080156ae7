"""What decoder processes do, done in this process: for tests, where nothing is hostile by accident.

Values cross the same border as in `modgate.decoders`: msgpack, files by token, at most 1 MiB.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import BinaryIO

import msgspec

from modgate.api.body import File
from modgate.api.json import Json
from modgate.api.need import Work
from modgate.api.plan import Drawn
from modgate.decoders.protocol import UNDECODABLE, file_token, refusal_in
from modgate.errors import GatewayError, PluginFault, Refused
from modgate.spool import Scope

ANSWER_AT_MOST = 1 << 20
NOT_FOR_DECODERS = ("aiohttp", "modgate.plugin")
_LOOK = """
import sys
from modgate.decoders.child import imported
imported(sys.argv[1])
print(*[name for name in sys.argv[2:] if name in sys.modules])
"""


class Inline:
    """Runs the functions of `Work` and `Drawn` here; the files that they write go to `scope`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._written: list[File] = []
        self._modules: set[str] = set()

    def heavy(self) -> Iterator[str]:
        """The modules of functions that ran, which bring the gateway into a decoder process.

        One that is not found there is a test's own, and none of them.
        """
        return (module for module in sorted(self._modules) if _brought(module))

    def work(self, work: Work) -> Json:
        """What a decoder process would answer; Refused, or PluginFault for what breaks the rules.

        A crash cannot be survived here, so a file that kills a decoder kills the test.
        """
        with ExitStack() as opened:
            try:
                return self._plain(self._called(work.function, work.args, opened))
            except GatewayError:
                raise
            except Exception as error:
                raise _refused(error, work.field) from error

    def pieces(self, drawn: Drawn) -> Iterator[Json]:
        """The descriptors of a stream, each as it comes."""
        with ExitStack() as opened:
            try:
                for piece in self._called(drawn.function, drawn.args, opened):
                    yield self._plain(piece)
            except GatewayError:
                raise
            except Exception as error:
                raise _refused(error, "file") from error

    def _called(
        self, function: Callable[..., Json], args: tuple[object, ...], opened: ExitStack
    ) -> Json:
        name = getattr(function, "__qualname__", "")
        if not name.isidentifier():
            raise PluginFault(f"a decoder function must be at the top of a module, not {name!r}")
        self._modules.add(function.__module__)
        sent = [_argument(each, opened) for each in args]
        if "spool" in inspect.signature(function).parameters:
            return function(*sent, spool=self._write)
        return function(*sent)

    def _write(self, data: bytes) -> msgspec.msgpack.Ext:
        writer = self._scope.writer()
        writer.write(data)
        self._written.append(writer.done())
        return file_token(len(self._written) - 1)

    def _plain(self, value: Json) -> Json:
        """A value as it comes out of another process."""
        files, self._written = self._written, []
        try:
            data = msgspec.msgpack.encode(value)
        except (TypeError, OverflowError) as error:
            raise PluginFault(
                f"a decoder function answered what is no plain value: {error}"
            ) from None
        if len(data) > ANSWER_AT_MOST:
            raise PluginFault("a decoder function answered more than a megabyte")
        return msgspec.msgpack.Decoder(ext_hook=lambda kind, at: files[at[0]]).decode(data)


def _brought(module: str) -> list[str]:
    """What a process that imports a module as decoders do has of what none of them should."""
    look = [sys.executable, "-c", _LOOK, module, *NOT_FOR_DECODERS]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(  # noqa: S603  # our own words
        look, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    return ended.stdout.split()


def _argument(value: object, opened: ExitStack) -> object:
    if isinstance(value, File):
        return opened.enter_context(_open(value))
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def _open(file: File) -> BinaryIO:
    """With an offset of its own: a descriptor's is shared."""
    return open(f"/proc/self/fd/{file.fd}", "rb")


def _refused(error: Exception, field: str | None) -> Refused:
    own, code, reason = refusal_in(error) or (None, *UNDECODABLE)
    return Refused(own or field, code, reason)
