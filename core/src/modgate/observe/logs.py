"""Logs: JSON lines, one per request and one per change of state, written off the event loop.

Nothing that looks like a key or a body leaves: every text is redacted, whatever put it there, and
of an exception only its place and kind are told (tracebacks.py).
"""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from logging.handlers import QueueHandler, QueueListener
from threading import Thread
from typing import TextIO

import orjson

from modgate.api.json import Json, JsonObject
from modgate.observe.python_warnings import PythonWarnings
from modgate.tracebacks import traceback_of

QUEUE_AT_MOST = 10_000
CLOSE_S = 2.0
TEXT_AT_MOST = 2_000
ENTRIES_AT_MOST = 100  # of a list or an object
BEGINNING = 32  # characters that the beginning of a key may have before it is known for one
_SECRETS = re.compile(
    r"mg_[a-z]+_[a-z2-7]{12}_\w+|(?i:bearer)\s+[\w.~+/=-]+|AKIA[0-9A-Z]{12,}|data:[\w/+.;=-]*,\S+"
    r"|\bsk-[\w-]{16,}|\beyJ[\w-]{8,2000}+\.[\w-]{8,}"  # of vendors; a JWT
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redacted(text: str) -> str:
    """A text without keys, tokens and embedded files, of bounded length."""
    if len(text) <= TEXT_AT_MOST:
        return _SECRETS.sub("[redacted]", text)
    # Before the cut: what is left of a key that it goes through is not known for one.
    looked = text[: 2 * TEXT_AT_MOST]
    clean = _SECRETS.sub("[redacted]", looked)
    if len(looked) < len(text):  # what was taken out may have brought this end before the cut
        clean = clean[:-BEGINNING]
    return clean[:TEXT_AT_MOST] + "..."


def _clean(value: Json) -> Json:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        some = islice(value.items(), ENTRIES_AT_MOST)
        return {redacted(str(name)): _clean(each) for name, each in some} | _more(value)
    if isinstance(value, list | tuple):
        return [*map(_clean, value[:ENTRIES_AT_MOST]), *_more(value)]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return value if isinstance(value, int | float | bool | None) else redacted(str(value))


def _more(value: Collection[Json]) -> dict[str, int]:
    """Of a collection that is cut, how many there are besides: a member, or an entry `...`."""
    return {"...": len(value) - ENTRIES_AT_MOST} if len(value) > ENTRIES_AT_MOST else {}


class JsonFormatter(logging.Formatter):
    """A record as one JSON line: time, level, logger, event, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: JsonObject = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redacted(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and not name.startswith("_"):
                line[name] = _clean(value)
        if record.exc_info and record.exc_info[1] is not None:
            # Before the cut: what is left of a key that it goes through is not known for one.
            told = record.exc_text or traceback_of(record.exc_info[1])
            text = _SECRETS.sub("[redacted]", told)
            line["exception"] = text[-TEXT_AT_MOST:]
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # a lone surrogate, or a whole number beyond 64 bits
            return json.dumps(line, default=str)


class _Dropping(QueueHandler):
    """Puts records on the queue; when it is full they are dropped and counted."""

    def __init__(self, lines: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(lines)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The listener is in this process: nothing is pickled, so nothing is formatted here.

        But where something failed: an error of a request is let go before the listener comes to it.
        """
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = traceback_of(record.exc_info[1])
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class LogSystem:
    """The gateway's logging, from when it is made to `close`."""

    def __init__(self, level: str, stream: TextIO | None = None) -> None:
        lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_AT_MOST)
        target = logging.StreamHandler(stream or sys.stderr)
        target.setFormatter(JsonFormatter())
        self._lines = lines
        self._handler = _Dropping(lines)
        self._listener = QueueListener(lines, target)
        self._root = logging.getLogger()
        self._before = (self._root.level, list(self._root.handlers))
        self._root.handlers = [self._handler]
        self._root.setLevel(level.upper())
        logging.getLogger("aiohttp.access").disabled = True
        self._warnings = PythonWarnings()
        self._listener.start()

    def set_level(self, level: str) -> None:
        """Another least level, as a configuration wants it."""
        self._root.setLevel(level.upper())

    @property
    def dropped(self) -> int:
        """Lines that did not fit into the queue."""
        return self._handler.dropped

    def close(self) -> bool:
        """Write what is queued, and put logging back as it was; False where nobody reads it."""
        self._warnings.close()
        level, handlers = self._before
        self._root.handlers = handlers
        self._root.setLevel(level)
        if self._lines.full():  # the listener's stop needs a place
            with suppress(queue.Empty):
                self._lines.get_nowait()
                self._handler.dropped += 1
        stopping = Thread(target=self._listener.stop, name="log end", daemon=True)
        stopping.start()
        stopping.join(CLOSE_S)
        return not stopping.is_alive()
