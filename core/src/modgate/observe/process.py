"""What this process uses of the machine, under the names that dashboards know.

Source: Prometheus client library guidelines, "Standard and runtime collectors".
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from modgate.observe.metrics import Registry

STATM = Path("/proc/self/statm")
FDS = Path("/proc/self/fd")


def add_process(registry: Registry) -> None:
    """Memory, processor time and descriptors of this process, read at each scrape."""
    registry.gauge("process_resident_memory_bytes", "memory in use", resident_bytes)
    registry.gauge("process_open_fds", "open file descriptors", open_fds)
    registry.gauge("process_max_fds", "file descriptors that may be open", most_fds)
    registry.gauge(
        "process_cpu_seconds_total", "processor time used", time.process_time, kind="counter"
    )


def resident_bytes() -> int:
    """Memory in use now; without /proc the most that was ever in use."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def open_fds() -> int:
    """Open file descriptors, without the one that it takes to look."""
    try:
        return len(os.listdir(FDS)) - 1
    except FileNotFoundError:
        return len(os.listdir("/dev/fd")) - 1


def most_fds() -> int:
    """How many file descriptors may be open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
