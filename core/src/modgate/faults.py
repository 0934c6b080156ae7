"""What a plugin's code may raise or return, made harmless."""

from __future__ import annotations

import asyncio
import inspect
import sys

# What is caught of a plugin where nothing is awaited: a library that calls sys.exit() ends one
# request, and not the gateway.
RAISED = BaseException
WORDS_AT_MOST, MESSAGE_AT_MOST = 200, 4000  # characters: of a code or a field, and of a message
CUT = "..."
WAITS = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


def raised() -> tuple[type[BaseException], ...]:
    """The exceptions of a plugin's code that is awaited: `except raised()`.

    None of them while this task is being ended, because its coroutine is closed or somebody
    cancelled it.  A `CancelledError` in a task that nobody cancelled is the plugin's own, and so is
    a `GeneratorExit` that was raised outside of a wait.
    """
    error = sys.exception()
    if isinstance(error, GeneratorExit) and _waited(error):
        return ()
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return ()
    return (RAISED,)


def _waited(error: BaseException) -> bool:
    """Whether it was raised at a wait, as closing a coroutine does, and not in a plain function."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or bool(trace.tb_frame.f_code.co_flags & WAITS)


def said(text: object, at_most: int = WORDS_AT_MOST) -> str:
    """A text that every format can hold; TypeError for anything else: no ledger row could be read.

    A longer text than `at_most` characters is cut, and ends in three dots: it may be what an engine
    sent, and goes into a reply, the receipt and the log.
    """
    if not isinstance(text, str):
        raise TypeError(f"an error says a text, and not {type(text).__name__}")
    if len(text) > at_most:
        text = f"{text[: at_most - len(CUT)]}{CUT}"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def error_status(status: object) -> int:
    """A status as a plain number, be it an `HTTPStatus`; TypeError for what is none of an error."""
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise TypeError(f"the status of an error is 400 to 599, and not {status!r:.20}")
    return int(status)


def seconds(number: object) -> float:
    """A number, be it nan; TypeError for none: no reply could tell it."""
    if not isinstance(number, int | float):
        raise TypeError(f"an error's wait is a number of seconds, and not {type(number).__name__}")
    return number
