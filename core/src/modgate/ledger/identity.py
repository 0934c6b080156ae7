"""Who writes a chain: the writer's id, which sinks know it by, and the machine's boot."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
CORRECTIONS = "rerate"  # the worker that posts corrections, beside the gateway's own chain
WRITER_ID = re.compile(r".+\.[0-9a-f]{8}")


def machine_boot() -> str:
    """An id that changes when the machine restarts, for then unsynced frames may be gone.

    `unknown` on a system that has none.
    """
    try:
        return BOOT.read_text().strip()
    except OSError:
        return "unknown"


def writer_id(before: str, name: str, worker: str) -> str:
    """The id of a chain's writer: `before`, which its newest segment names, or else a new one.

    A new id is `NAME.12345678`, or `NAME-rerate.12345678` of the worker `rerate`.  The random end
    tells apart two directories of the same name: one that was lost, and the one begun in its place.
    An empty `name` stands for the name of the host.
    """
    if WRITER_ID.fullmatch(before):
        return before
    known = name or socket.gethostname() or "gateway"
    return f"{known}-{worker}.{os.urandom(4).hex()}" if worker else f"{known}.{os.urandom(4).hex()}"


def name_of(writer: str) -> str:
    """The name in a writer's id: what is before the random end."""
    return writer.rpartition(".")[0]
