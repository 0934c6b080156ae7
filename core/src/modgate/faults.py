"""What the code of a plugin may do, and must not do harm."""

from __future__ import annotations

import asyncio
import sys

# What it raises where nothing is awaited: a library that ends its process ends one request.
RAISED = BaseException


def raised() -> tuple[type[BaseException], ...]:
    """The same where something is awaited, for `except raised()`: none for what ends us.

    That is a coroutine being closed, and a task that somebody cancelled.  A `CancelledError` in a
    task that nobody did was raised by whom it was called in.
    """
    error = sys.exception()
    if isinstance(error, GeneratorExit):
        return ()
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return ()
    return (RAISED,)


def said(text: str) -> str:
    """A text that every format can hold; TypeError for none: its ledger row could not be read."""
    if not isinstance(text, str):
        raise TypeError(f"an error says a text, and not {type(text).__name__}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def seconds(number: float) -> float:
    """A number, be it nan; TypeError for none: no reply could tell it."""
    if not isinstance(number, int | float):
        raise TypeError(f"an error's wait is a number of seconds, and not {type(number).__name__}")
    return number
