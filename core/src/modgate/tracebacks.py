"""Tracebacks that may be written down: where something failed, and not what it said.

What a plugin or a library puts into an exception is often a part of what the client sent (a
`KeyError` of its text, a `ValidationError` with its input), or a key.  So an exception's text is
kept only where it is written by the interpreter, by the system, or by our own rules for messages.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from socket import gaierror
from ssl import SSLCertVerificationError, SSLError

from modgate.errors import GatewayError
from modgate.faults import RAISED
from modgate.problems import ConfigError, PluginError

SPEAKING = (
    *(AttributeError, ImportError, IndexError, MemoryError, NameError, OSError, RecursionError),
    *(TypeError, ZeroDivisionError, ConfigError, GatewayError, PluginError),
)
CHAIN_AT_MOST = 10
FRAMES_AT_MOST = 30
SAID_AT_MOST = 20_000  # characters of one exception's text: a longer one is what somebody sent
WITHHELD = "(its text is withheld)"


def traceback_of(error: BaseException) -> str:
    """The frames of an exception and of those that it came of, the first cause first."""
    return "\n".join(_told(each) for each in reversed(list(_chain(error))))


def reason_of(error: BaseException) -> str:
    """Why somebody was not reached, as the system says it: `connection refused`; else the kind."""
    for each in reversed(list(_chain(error))):
        if isinstance(each, SSLCertVerificationError):
            return each.verify_message
        if isinstance(each, SSLError):
            return (each.reason or type(each).__name__).replace("_", " ").lower()
        if isinstance(each, gaierror) and each.strerror:
            return each.strerror.lower()  # its numbers are its own, and on macOS above 0
        if isinstance(each, OSError) and (each.errno or 0) > 0:
            return os.strerror(each.errno or 0).lower()
    return type(error).__name__


def let_go(errors: Iterable[BaseException | None]) -> None:
    """Forget where these and what they came of were raised, once nobody will tell it any more.

    A traceback holds the frames that an error passed, and they hold it: with all that a request
    had, its prompt above all, until some collection finds the circle, which may be hours later.
    """
    left = list(errors)
    while left:
        here = left.pop()
        if here is not None and here.__traceback__ is not None:
            here.__traceback__ = None
            left += (here.__cause__, here.__context__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen and len(seen) < CHAIN_AT_MOST:
        seen.add(id(here))
        yield here
        if isinstance(here, BaseExceptionGroup):
            yield from here.exceptions[:CHAIN_AT_MOST]
        here = here.__cause__ or (None if here.__suppress_context__ else here.__context__)


def _told(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__, -FRAMES_AT_MOST))
    try:
        text = str(error)
        speaks = isinstance(error, SPEAKING) and len(text) <= SAID_AT_MOST
    except RAISED:  # by a `__str__` of a plugin
        text, speaks = WITHHELD, False
    said = f": {text}" if speaks else f" {WITHHELD}" if text else ""
    return f"Traceback:\n{frames}{type(error).__name__}{said}"


def plain(error: Exception) -> str:
    """Why something failed, for people: `modgate.toml: no such file or directory`."""
    if not isinstance(error, OSError):
        return str(error)
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason
