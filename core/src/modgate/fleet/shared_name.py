"""What gateways call an engine among themselves: the same engine the same, and no two alike."""

from __future__ import annotations

import os
import socket
from functools import cache, lru_cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from modgate.api.select import Backend

KNOWN_AT_MOST = 4096  # addresses; all are asked of whenever one engine comes or goes


def shared_name(backend: Backend) -> str:
    """Its identity; with this host's where it is the host's own, '' where it is this process's."""
    if backend.socket:
        return ""
    identity = backend.identity
    return f"{this_network()} {identity}" if not backend.uid and _here(backend.url) else identity


@lru_cache(KNOWN_AT_MOST)
def _here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@cache
def this_network() -> str:
    """What shares a loopback: a boot of a machine, and a network namespace of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return socket.gethostname()
