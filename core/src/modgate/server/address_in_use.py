"""Why an address cannot be listened on, in words, and who has it where the system tells."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_LISTENING = "0A"  # Source: Linux, include/net/tcp_states.h
_PROC = Path("/proc")


def refusal(host: str, port: int, error: OSError) -> str:
    """What to tell a person whose listener could not be opened."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken{holder(port)}; stop that, or take another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where} is no address of this machine"
    if error.errno == errno.EACCES:
        return f"{where} may not be listened on by this user; take a port from 1024 on"
    return f"{where} cannot be listened on: {(error.strerror or str(error)).lower()}"


def holder(port: int) -> str:
    """` by NAME (process N)` of whoever listens on a port; '' when this user may not see it."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for fd in _PROC.glob("[0-9]*/fd/*") if sockets else ():
        try:
            found = os.readlink(fd) in sockets
        except OSError:
            continue
        if found:
            process = fd.parts[2]
            name = (_PROC / process / "comm").read_text().strip()
            return f" by {name} (process {process})"
    return ""


def _inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            rows = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if int(columns[1].rpartition(":")[2], 16) == port and columns[3] == _LISTENING:
                yield columns[9]
