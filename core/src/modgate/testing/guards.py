"""What watches a plugin while a rule runs: sockets, sleep, logs, prints, descriptors, threads."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from types import ModuleType

_OPENS = "a plugin must not open a socket: yield a Fetch or an Ask"
_SLEEPS = "a plugin must not sleep: all requests would wait for it"
_DOORS: tuple[tuple[ModuleType, str, str], ...] = (
    (socket, "socket", _OPENS),
    (socket, "create_connection", _OPENS),
    (socket, "create_server", _OPENS),
    (socket, "getaddrinfo", _OPENS),
    (socket, "socketpair", _OPENS),
    (socket, "fromfd", _OPENS),
    (time, "sleep", _SLEEPS),
)


class Waited(AssertionError):
    """A plugin does no I/O; what it needs from the world it asks for as a Need."""


@contextmanager
def no_waiting() -> Iterator[None]:
    """Nothing inside can open a socket, resolve a name or sleep, and whoever tries is told of in
    the end, even where it swallows the error.

    Threads that were there before are not the plugin's, and go on.
    """
    tried: list[str] = []
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    kept = {name: getattr(module, name) for module, name, _ in _DOORS}

    def refuse(name: str, told: str, *args: object, **more: object) -> object:
        if threading.get_ident() in others:
            return kept[name](*args, **more)
        tried.append(told)
        raise Waited(told)

    for module, name, told in _DOORS:
        setattr(module, name, partial(refuse, name, told))
    try:
        yield
    finally:
        for module, name, _ in _DOORS:
            setattr(module, name, kept[name])
    if tried:
        raise Waited(tried[0])


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
