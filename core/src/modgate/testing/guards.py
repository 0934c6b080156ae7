"""What watches a plugin while a rule runs: sockets, logs, prints, descriptors and threads."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial

_DOORS = ("socket", "create_connection", "create_server", "getaddrinfo", "socketpair", "fromfd")


class SocketOpened(AssertionError):
    """A plugin does no I/O; what it needs from the world it asks for as a Need."""


@contextmanager
def no_sockets() -> Iterator[None]:
    """Nothing inside can open a socket or resolve a name, and whoever tries is told of in the end,
    even where it swallows the error.

    Threads that were there before are not the plugin's, and go on.
    """
    tried: list[str] = []
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    kept = {name: getattr(socket, name) for name in _DOORS}

    def refuse(name: str, *args: object, **more: object) -> object:
        if threading.get_ident() in others:
            return kept[name](*args, **more)
        tried.append("a plugin must not open a socket: yield a Fetch or an Ask")
        raise SocketOpened(tried[0])

    for name in _DOORS:
        setattr(socket, name, partial(refuse, name))
    try:
        yield
    finally:
        for name, was in kept.items():
            setattr(socket, name, was)
    if tried:
        raise SocketOpened(tried[0])


class _Keeper(logging.Handler):
    """Keeps every record whole, with what came as `extra`."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.getMessage()} {record.__dict__}")


class Heard:
    """What was logged and printed."""

    def __init__(self, keeper: _Keeper, printed: io.StringIO) -> None:
        self._keeper = keeper
        self._printed = printed

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join([*self._keeper.said, self._printed.getvalue()])


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear every log record at DEBUG, and both standard streams."""
    keeper, printed = _Keeper(), io.StringIO()
    root = logging.getLogger()
    level = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield Heard(keeper, printed)
    finally:
        root.setLevel(level)
        root.removeHandler(keeper)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the process holds that does not go by itself."""

    descriptors: int
    threads: int

    @staticmethod
    def now() -> Held:
        """Count; where the system does not list descriptors, only threads."""
        try:
            descriptors = len(os.listdir("/proc/self/fd"))
        except OSError:
            descriptors = 0
        return Held(descriptors=descriptors, threads=threading.active_count())
