"""The child process of a local engine: load, serve on a unix socket, and die with the gateway.

Started as `python -m modgate.engines.child SPEC`, where SPEC is a JSON object: `engine`
(module:class), `data`, `threads`, `socket`.  JSON lines on standard output tell how it stands;
what an engine prints there is thrown away.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from modgate.api.engine import LocalEngine
from modgate.tracebacks import traceback_of

PR_SET_PDEATHSIG = 1
STDOUT = 1
LISTENING_WITHIN_S = 120.0


class _Plain(logging.Formatter):
    """For standard error, whose end the gateway logs when the process dies."""

    def format(self, record: logging.LogRecord) -> str:
        """A line, and of an exception its place and kind: its text may be what a client sent."""
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = traceback_of(record.exc_info[1])
        return super().format(record)


class Reporter:
    """Tells the gateway how it stands, and takes standard output away from everybody else."""

    def __init__(self) -> None:
        self._fd = os.dup(STDOUT)  # which no process of the engine inherits
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)

    def say(self, state: str, detail: str = "", missing: list[str] | None = None) -> None:
        """One line; a gateway that is gone is no error here, the death signal follows."""
        line = json.dumps({"state": state, "detail": detail, "missing": missing or []})
        try:
            os.write(self._fd, line.encode() + b"\n")
        except OSError:
            sys.exit(0)


def main(spec_text: str) -> int:
    """Run one engine until the process ends."""
    spec = json.loads(spec_text)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    target = logging.StreamHandler(sys.stderr)
    target.setFormatter(_Plain(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[target])
    reporter = Reporter()
    module, _, name = spec["engine"].partition(":")
    kind: type[LocalEngine] = getattr(importlib.import_module(module), name)
    engine = kind(Path(spec["data"]), spec["threads"])
    missing = list(engine.missing())
    if missing:
        reporter.say("missing", missing=missing)
        return 0
    reporter.say("loading", "loading")
    engine.load(lambda detail: reporter.say("loading", detail))
    path = spec["socket"]
    Path(path).unlink(missing_ok=True)
    threading.Thread(target=_announce, args=(path, reporter), daemon=True).start()
    engine.serve(path)
    return 0


def _announce(path: str, reporter: Reporter) -> None:
    """Say ready as soon as the socket takes a connection."""
    deadline = time.monotonic() + LISTENING_WITHIN_S
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except OSError:
                time.sleep(0.02)
            else:
                reporter.say("ready")
                return
    reporter.say("failed", "the engine does not listen on its socket")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
