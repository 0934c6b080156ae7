"""By what a file is known to be another one, or to have been written since."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mark(NamedTuple):
    """Not its time alone: that may be set, and a link may lead to another file of the same age."""

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int


ABSENT = Mark(0, 0, 0, 0, 0)


def mark_of(path: Path) -> Mark:
    """ABSENT when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ABSENT
    return Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
