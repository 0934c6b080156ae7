"""What the system says of a process: memory, threads, files and sockets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MIB = 1 << 20
CLOSE_WAIT = "08"  # Source: Linux, include/net/tcp_states.h


def rss_of(pid: int) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def vitals_of(pid: int) -> Mapping[str, float]:
    """Memory of its children in MiB, threads, files, and sockets whose peers left."""
    files = _files(pid)
    sockets = {name[len("socket:[") : -1] for name in files if name.startswith("socket:[")}
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        "decoders": sum(rss_of(int(child)) for child in children) / MIB,
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "files": len(files),
        "close-wait": sum(row[3] == CLOSE_WAIT and row[9] in sockets for row in _connections()),
    }


def _files(pid: int) -> list[str]:
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(each))
        except FileNotFoundError:
            continue
    return found


def _connections() -> list[list[str]]:
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
